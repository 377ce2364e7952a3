"""`LayerTrace`: what one layer saw on calibration data. All that error models need, small enough to keep.

Patches are receptive fields as the circuit sees them: activation codes, padding positions holding the zero point. (So
do the absent taps of a transposed convolution, where no circuit multiplies; where the zero point is 0, as behind a
ReLU, most circuits do not err there.)

A product of two activations is traced as a layer of many groups: each sampled pair of matrices is a group, rows of the
first are its patches, columns of the second its weights. But there is one output channel only, as no column stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from approx.grid import Grid
from approx.operands import Operands
from approx.quantizer import quantise_weight
from approx.second_operand import Second

PATCHES = 512


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """Shapes: G groups, S patches, K fan-in, C output channels (C / G of each group).

    Attributes:
        name: layer name in the user's model.
        macs: multiplications for one image, padding positions included.
        patches: uint8 [G, S, K] sampled receptive fields.
        weight: float32 [C, K], batch normalisation folded; or sampled columns of a second activation.
        input_scale, input_zero: what the codes stand for.
        accumulator_std: float64 scalar, std of the real output before the bias over batch, positions and channels.
        channel_std: float64 [C], the same per channel; [1] of a product of two activations.
        weight_grid: of the second activation; None where the weights are weights.
    """

    name: str
    macs: int
    patches: npt.NDArray[np.uint8]
    weight: npt.NDArray[np.float32]
    input_scale: float
    input_zero: int
    accumulator_std: float
    channel_std: npt.NDArray[np.float64]
    weight_grid: Grid | None = None

    @property
    def channels(self) -> int:
        """Output channels: those with a gain and a bias of their own."""
        return 1 if self.weight_grid else len(self.weight)

    @property
    def groups(self) -> int:
        """Groups of the convolution."""
        return len(self.patches)

    @property
    def fan_in(self) -> int:
        """Products summed into one output."""
        return self.patches.shape[2]

    @property
    def patch_histograms(self) -> npt.NDArray[np.float32]:
        """P: float32 [G, S, 256], the share of each activation code in each patch; rows sum to 1."""
        groups, patches, fan_in = self.patches.shape
        rows = np.arange(groups * patches).repeat(fan_in) * 256 + self.patches.reshape(-1)
        counts = np.bincount(rows, minlength=groups * patches * 256)
        return (counts / fan_in).astype(np.float32).reshape(groups, patches, 256)

    @property
    def code_histogram(self) -> npt.NDArray[np.float64]:
        """float64 [256], the share of each activation code in all patches."""
        return np.bincount(self.patches.reshape(-1), minlength=256) / self.patches.size

    def weight_values(
        self, operands: Operands, bits: int = 8
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """The weights in a coding, for circuits with so many bits on the weight's side.

        Returns:
            values int16 [C, K], scale float64 [C], zero int64 [C].

        Raises:
            ValueError: a second activation has more bits than the circuit takes.
        """
        weight = torch.from_numpy(self.weight)
        if self.weight_grid is None:
            values, scale, zero = quantise_weight(weight, operands, bits=bits)
        else:
            values, zero, scale = Second.of_reals(weight, self.weight_grid).coded(operands, bits, self.weight_grid.bits)
            scale, zero = scale.expand(len(weight)), zero.expand(len(weight))
        return values.numpy(), scale.numpy(), zero.numpy()

    def weight_histograms(self, operands: Operands, bits: int = 8) -> npt.NDArray[np.float64]:
        """Q: float64 [C, n_w], the share of each weight value in each output channel; rows sum to 1."""
        lowest, highest = operands.span(bits)
        values, count = self.weight_values(operands, bits)[0].astype(np.int64) - lowest, highest - lowest + 1
        cells = (np.arange(len(values))[:, None] * count + values).reshape(-1)
        return np.bincount(cells, minlength=len(values) * count).reshape(-1, count) / self.fan_in

    def operand_histograms(
        self, operands: Operands, swap: bool = False
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """How often the circuit sees each bit pattern on operand a and on operand b in this layer.

        Made for `multipliers.characterise` and `Multiplier.statistics`, which then speak of this layer instead of
        uniform operands.

        Args:
            operands: weight coding; a signed circuit sees the activation code minus 128, an unsigned one |w|.
            swap: as in `layer_table`, the weight is on operand a.

        Returns:
            float64 [256] each, shares that sum to 1.
        """
        operands = Operands(operands)
        codes = self.patches.reshape(-1).astype(np.int64)
        weights = self.weight_values(operands)[0].reshape(-1).astype(np.int64)
        activations = (codes - 128) & 255 if operands.signed_circuit else codes
        patterns = weights & 255 if operands.signed_circuit else np.abs(weights)
        p, q = (np.bincount(seen, minlength=256) / seen.size for seen in (activations, patterns))
        return (q, p) if swap else (p, q)


def save_traces(traces: Mapping[str, LayerTrace], path: Path | str) -> None:
    """Write all traces to one safetensors file."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for name, t in traces.items():
        arrays |= {
            f"{name}|patches": t.patches,
            f"{name}|weight": t.weight,
            f"{name}|channel_std": t.channel_std,
        }
        grid = t.weight_grid or Grid(0.0, 0, 0)
        scalars = [t.macs, t.input_scale, t.input_zero, t.accumulator_std, grid.scale, grid.zero, grid.bits]
        arrays[f"{name}|scalars"] = np.array(scalars)
    save_file(arrays, str(path), {"layers": "\n".join(traces)})


def load_traces(path: Path | str) -> dict[str, LayerTrace]:
    """Read what `save_traces` wrote, layers in execution order."""
    with safe_open(str(path), "np") as file:
        return {name: _load(file, name) for name in file.metadata()["layers"].split("\n")}


def _load(file: safe_open, name: str) -> LayerTrace:
    macs, scale, zero, std, *second = file.get_tensor(f"{name}|scalars")
    patches, weight, channel_std = (file.get_tensor(f"{name}|{part}") for part in ("patches", "weight", "channel_std"))
    grid = Grid(float(second[0]), int(second[1]), int(second[2])) if any(second) else None
    return LayerTrace(name, int(macs), patches, weight, float(scale), int(zero), float(std), channel_std, grid)
