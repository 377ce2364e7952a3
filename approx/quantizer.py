"""Quantizers: what integers stand for. Activations are unsigned affine per tensor, weights per output channel.

Activation ranges are calibrated: an observer keeps extremes and a random sample of what a tensor held on calibration
data, and `Quantizer.calibrate` picks the clipping with the least mean squared error on that sample. A rough circuit
does not resolve all 256 codes of an activation; the range that is best for fewer levels is much narrower, and is worth
more to it than the values that are clipped.
"""

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from approx.kernels import pointwise
from approx.operands import Operands
from approx.parts import in_parts

SAMPLE = 1 << 16
KEPT = 1 << 20  # values at most, until `Quantizer.calibrate`
CLIPS = np.linspace(0.1, 1.0, 91)


class Quantizer(nn.Module):
    """Codes of one activation tensor: `real = scale * (code - zero_point)`.

    Quantizers of 2..8 bits are unsigned (8: codes 0..255). The 16-bit one of a network's output is signed with zero
    point 0.
    """

    scale: torch.Tensor
    zero_point: torch.Tensor

    def __init__(self, bits: int = 8) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("scale", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("zero_point", torch.tensor(0, dtype=torch.int64))
        self._extremes = (0.0, 0.0)
        self._samples: list[torch.Tensor] = []
        self._stride = 1

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest code."""
        half = 1 << (self.bits - 1)
        return (0, 2 * half - 1) if self.bits <= 8 else (-half, half - 1)

    @property
    def grid(self) -> tuple[float, int, tuple[int, int]]:
        """Scale, zero point and bounds."""
        return self.scale.item(), cast(int, self.zero_point.item()), self.bounds

    def limits(self, bounds: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Reals of two codes, float32 scalars: tensors, so that a graph can hold them."""
        low, high = ((code - self.zero_point) * self.scale.to(torch.float32) for code in bounds)
        return low, high

    @property
    def calibrated(self) -> bool:
        """Whether `calibrate` has set a scale."""
        return bool(self.scale > 0)

    def use_bits(self, bits: int) -> None:
        """Another width; what was calibrated for the one before is forgotten."""
        if bits != self.bits:
            self.bits = bits
            self.scale.zero_()

    def observe(self, values: torch.Tensor) -> None:
        """Remember extremes and a random sample (all of a small one) of a tensor seen on calibration data.

        Raises:
            ValueError: the tensor holds NaN or infinity.
        """
        flat = values.detach().flatten()
        low, high = (float(v) for v in torch.aminmax(flat))
        if not np.isfinite([low, high]).all():
            raise ValueError("calibration saw NaN or infinite activations; check the data and the network's weights")
        self._extremes = (min(low, self._extremes[0]), max(high, self._extremes[1]))
        if len(flat) > SAMPLE // 4:
            flat = flat[torch.randint(len(flat), (SAMPLE // 4,), generator=torch.Generator().manual_seed(0))]
        self._samples.append(flat[:: self._stride].clone())
        if sum(map(len, self._samples)) > KEPT:  # a recurrent layer shows a tensor a step
            self._samples, self._stride = [torch.cat(self._samples)[::2]], 2 * self._stride

    def calibrate(self, resolution: int = 8) -> None:
        """Set scale and zero point from what was observed; forgets the observations.

        Args:
            resolution: bits that what reads the codes tells apart; the range is the best one for so many levels.

        Raises:
            ValueError: nothing was observed.
        """
        if not self._samples:
            raise ValueError(
                "a quantizer has seen no calibration data; run calibration batches through the network first"
            )
        low, high = self._extremes
        if self.bits > 8:
            self._set(2.0 * max(-low, high, 1e-6) / self.bounds[1], 0)
        else:
            sample = torch.cat(self._samples).double().numpy()
            if len(sample) > SAMPLE:
                sample = np.random.default_rng(0).choice(sample, SAMPLE, replace=False)
            self._set(*_least_squares_range(sample, (low, high), self.bounds[1], min(resolution, self.bits)))
        self._extremes, self._samples, self._stride = (0.0, 0.0), [], 1

    def _set(self, scale: float, zero_point: int) -> None:
        # float32 precision, so that every back end reads the same number
        self.scale.fill_(float(np.float32(scale)))
        self.zero_point.fill_(zero_point)

    def codes(self, values: torch.Tensor) -> torch.Tensor:
        """Real values -> codes, as floats holding integers."""
        scaled = values / self.scale.to(values.dtype)
        return torch.round(scaled).add_(self.zero_point.item()).clamp_(*self.bounds)

    def byte_codes(self, values: torch.Tensor) -> torch.Tensor:
        """Codes, uint8, of real values [N, ..., F], contiguous; for quantizers of at most 8 bits."""
        values = values.detach().contiguous()
        if pointwise.usable(values):
            return pointwise.codes(values, self.grid)
        rows = values.flatten(0, -2)
        return in_parts(lambda part: self.codes(part).to(torch.uint8), rows).view(values.shape)

    def reals(self, codes: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Codes, of any integer or float type -> real values."""
        if codes.dtype is torch.uint8:
            if dtype is torch.float32 and pointwise.usable() and codes.is_contiguous():
                return pointwise.reals(codes, self.grid)
            codes = codes.to(torch.int32)
        return (codes - self.zero_point.item()).to(dtype).mul_(self.scale.to(dtype))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Fake quantisation: rounds to the grid, gradient straight through inside the range."""
        inside = values.clamp(*self.limits(self.bounds))
        return inside + (self.reals(self.codes(values.detach())) - inside).detach()


def _least_squares_range(
    sample: npt.NDArray[np.float64], extremes: tuple[float, float], highest: int, resolution: int
) -> tuple[float, int]:
    """Scale and zero point, codes 0..highest, of the clipped extremes * t that lose least in `resolution` bits."""

    def grid(clip: float, highest: int) -> tuple[float, int]:
        scale = max((extremes[1] - extremes[0]) * clip / highest, 1e-9)
        return scale, int(np.clip(np.rint(-extremes[0] * clip / scale), 0, highest))

    levels = (1 << resolution) - 1
    best = (np.inf, 1.0)
    for clip in CLIPS:
        scale, zero = grid(clip, levels)
        restored = (np.clip(np.rint(sample / scale) + zero, 0, levels) - zero) * scale
        best = min(best, (float(np.mean((restored - sample) ** 2)), clip))
    return grid(best[1], highest)


def quantise_weight(
    weight: torch.Tensor, operands: Operands, smallest_scale: torch.Tensor | float = 1e-12, bits: int = 8
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Real weights -> integers, per output channel.

    Args:
        weight: float [O, ...].
        operands: weight coding.
        smallest_scale: float or [O]; keeps a channel of tiny weights from an overflowing integer bias.
        bits: of the circuit's weight operand.

    Returns:
        values int16 [O, ...], scale float64 [O], zero int64 [O] with `weight = scale * (values - zero)`.
    """
    flat = weight.detach().flatten(1).double()
    floor = torch.as_tensor(smallest_scale, dtype=torch.float64)
    lowest, highest = operands.span(bits)
    if operands is Operands.AFFINE:
        low, high = flat.amin(1).clamp(max=0.0), flat.amax(1).clamp(min=0.0)
        scale = torch.maximum((high - low) / highest, floor)
        zero = torch.round(-low / scale).clamp(0, highest)
    else:
        scale = torch.maximum(flat.abs().amax(1) / highest, floor)
        zero = torch.zeros_like(scale)
    values = torch.round(flat / scale[:, None]).add_(zero[:, None]).clamp_(lowest, highest)
    return values.to(torch.int16).view(weight.shape), scale, zero.to(torch.int64)
