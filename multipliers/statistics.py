"""Error statistics of a circuit against the exact product."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multipliers.arrays import FloatArray, Int64Array, IntArray

Mean = Callable[[FloatArray | npt.NDArray[np.bool_]], float]


@dataclass(frozen=True)
class ErrorStatistics:
    """Error of a circuit over its operand pairs; e = approximate - exact, in units of the product.

    Ratios are fractions (0.01 = 1 %). Averages are over the operand distribution, worst cases over
    the operand pairs that have non-zero probability. The default conventions are those of EvoApproxLib
    "lite" (2021) and v2022: relative errors only count pairs with a non-zero exact product.

    Attributes:
        mae: mean |e|.
        wce: max |e|.
        wcre: max |e| / |exact| over pairs with exact != 0.
        ep: probability that e != 0.
        mre: mean |e| / |exact| over pairs with exact != 0 (lite / v2022 convention).
        mse: mean e^2.
        bias: mean e.
        std: standard deviation of e, what is left once the bias is corrected.
        mre_8b2017: mean |e| / max(1, |exact|) over all pairs (EvoApprox8b 2017 convention).
        wcre_8b2017: max |e| / max(1, |exact|) over all pairs (EvoApprox8b 2017 convention).
        sampled_pairs: 0 when every operand pair was counted; else the number of pairs drawn (circuits too wide
            for a table): averages are then estimates, worst cases lower bounds.
    """

    mae: float
    wce: int
    wcre: float
    ep: float
    mre: float
    mse: float
    bias: float
    std: float
    mre_8b2017: float
    wcre_8b2017: float
    sampled_pairs: int = 0

    @classmethod
    def of(
        cls,
        table: IntArray,
        exact: IntArray,
        p: npt.ArrayLike | None = None,
        q: npt.ArrayLike | None = None,
    ) -> ErrorStatistics:
        """Statistics of ``table`` against ``exact`` for independent operands.

        Args:
            table: approximate products, int32 [2**width_a, 2**width_b], indexed by bit pattern.
            exact: exact products, same shape.
            p: histogram of operand a, [2**width_a], non-negative, any scale; uniform when None.
            q: histogram of operand b, [2**width_b]; uniform when None.

        Returns:
            the statistics under the product distribution p x q.

        Raises:
            ValueError: if shapes differ or a histogram is malformed.
        """
        if table.shape != exact.shape or table.ndim != 2:
            raise ValueError(f"statistics: expected two equal 2-D tables, got {table.shape} and {exact.shape}")
        weight_a = distribution("p (operand a)", p, table.shape[0])
        weight_b = distribution("q (operand b)", q, table.shape[1])

        def mean(values: FloatArray | npt.NDArray[np.bool_]) -> float:
            return float(weight_a @ (values @ weight_b))

        possible = np.outer(weight_a > 0, weight_b > 0)
        return _statistics(table.astype(np.int64), exact.astype(np.int64), mean, possible)

    @classmethod
    def sampled(cls, products: Int64Array, exact: Int64Array) -> ErrorStatistics:
        """Statistics over drawn operand pairs.

        Args:
            products: approximate products, int64 [N].
            exact: exact products, int64 [N].

        Raises:
            ValueError: if shapes differ or there are no pairs.
        """
        if products.shape != exact.shape or products.ndim != 1 or products.size == 0:
            raise ValueError(
                f"statistics: expected two equal, non-empty 1-D arrays, got {products.shape}, {exact.shape}"
            )
        drawn = np.ones(products.shape, dtype=np.bool_)
        statistics = _statistics(products, exact, lambda values: float(values.mean()), drawn)
        return dataclasses.replace(statistics, sampled_pairs=products.size)


def _statistics(
    products: Int64Array, exact: Int64Array, mean: Mean, possible: npt.NDArray[np.bool_]
) -> ErrorStatistics:
    """The figures, given how to average over the pairs and which of them can occur."""
    error = (products - exact).astype(np.float64)
    magnitude = np.abs(error)
    relative = magnitude / np.maximum(np.abs(exact.astype(np.float64)), 1.0)
    nonzero = exact != 0
    share_nonzero = mean(nonzero)
    mse, bias = mean(magnitude**2), mean(error)
    return ErrorStatistics(
        mae=mean(magnitude),
        wce=int(magnitude[possible].max()),
        wcre=float(relative[possible & nonzero].max(initial=0.0)),
        ep=mean(error != 0),
        mre=mean(np.where(nonzero, relative, 0.0)) / share_nonzero if share_nonzero > 0 else 0.0,
        mse=mse,
        bias=bias,
        std=math.sqrt(max(mse - bias**2, 0.0)),
        mre_8b2017=mean(relative),
        wcre_8b2017=float(relative[possible].max()),
    )


def distribution(label: str, histogram: npt.ArrayLike | None, size: int) -> FloatArray:
    """Normalise a histogram of ``size`` bins to probabilities; uniform when None."""
    if histogram is None:
        return np.full(size, 1.0 / size)
    weights = np.asarray(histogram, dtype=np.float64)
    if weights.shape != (size,):
        raise ValueError(
            f"statistics: histogram {label} must have shape ({size},), one bin per bit pattern, got {weights.shape}"
        )
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise ValueError(
            f"statistics: histogram {label} must be finite, non-negative and not all zero; "
            f"got minimum {weights.min()}, sum {weights.sum()}"
        )
    return weights / weights.sum()
