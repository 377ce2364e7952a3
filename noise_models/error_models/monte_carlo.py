"""Single-distribution Monte-Carlo of arXiv 1912.00700 (papers/approximate_networks.md §2, baseline of the AGN code).

    sigma = std over runs of Σ_k e(w_k, x_k)          x_k ~ p, w_k ~ q, all independent

It draws what the single-distribution model computes in closed form: with many runs the two agree, the standard error of
sigma is about 1 / sqrt(2 runs) of it. p and q are the layer's pooled operands; drawing from them is picking any
activation of any patch and any weight of any channel. As the published model it knows no correction but the loss of the
mean.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from approx import LayerTrace, Operands
from approx.operands import LayerTable
from noise_models.error_models.base import ErrorModel, check_table
from noise_models.error_models.coded_weights import CodedWeights, coded_weights
from noise_models.prediction import ErrorPrediction

RUNS = 4096
"""Sums drawn for one prediction: sigma to 1.1 %. The AGN code draws 100,000, to 0.2 %."""
BLOCK = 1 << 20  # products looked up at a time


@dataclass(frozen=True)
class MonteCarlo(ErrorModel):
    """See the module. Final.

    Attributes:
        runs: outputs drawn, at least 2. The drawn operands of the last layer are kept, 4 bytes * runs * fan-in.
        seed: of the draw; the same for every circuit, so that circuits are compared on the same operands.
    """

    name: ClassVar[str] = "monte-carlo"

    runs: int = RUNS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.runs < 2 or self.seed < 0:
            raise ValueError(f"Monte-Carlo needs runs >= 2 and seed >= 0, got runs={self.runs}, seed={self.seed}")

    def predict(self, trace: LayerTrace, operands: Operands, table: LayerTable) -> ErrorPrediction:
        check_table(trace, operands, table)
        weights, error = coded_weights(trace, operands, table.weight_bits), table.error().reshape(-1)
        drawn = _drawn(trace, weights, self.runs, self.seed)
        step = max(1, BLOCK // trace.fan_in)
        sums = np.concatenate(
            [error[drawn[i : i + step]].sum(1, dtype=np.int64) for i in range(0, self.runs, step)], dtype=np.float64
        )
        scale = weights.scale[: trace.channels]
        return ErrorPrediction(scale * sums.mean(), scale * sums.std(), scale * sums.std())


@lru_cache(maxsize=1)
def _drawn(trace: LayerTrace, weights: CodedWeights, runs: int, seed: int) -> npt.NDArray[np.int32]:
    """Entries of the flattened layer table that the products of each run meet, int32 [runs, K]."""
    random, shape = np.random.default_rng(seed), (runs, trace.fan_in)
    rows, codes = weights.rows.reshape(-1).astype(np.int32), trace.patches.reshape(-1)
    drawn = rows[random.integers(rows.size, size=shape, dtype=np.int32)]
    drawn *= 256
    drawn += codes[random.integers(codes.size, size=shape, dtype=np.int32)]
    return drawn
