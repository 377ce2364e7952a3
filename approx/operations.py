"""Operations of a quantised network that need no multiplier circuit: input, pools, pad, slice, concat, flatten."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from approx.conv_geometry import pad_amounts
from approx.kernels import ops
from approx.move import Move
from approx.operation import Operation, zero_of
from approx.quantizer import Quantizer
from approx.requantise import requantise
from approx.window import Window


class QuantInput(Operation):
    """Reals of the outside world -> codes."""

    def __init__(self, label: str, output: Quantizer) -> None:
        super().__init__(label, (), output)

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0]

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        if not torch.compiler.is_compiling():
            self._check_finite(inputs[0])
        return self.straight_through(inputs, self.output.codes)

    def _check_finite(self, x: torch.Tensor) -> None:
        """Codes would hide what is not a number. A finite sum has finite terms only, and is quick."""
        if not (x.sum().isfinite() or x.isfinite().all()):
            raise ValueError(
                "expected finite inputs of the network, got NaN or infinity; check the data and its normalisation"
            )


class QuantMaxPool(Move):
    """Maximum over a window; codes only move."""

    def __init__(self, label: str, source: Quantizer, window: Window) -> None:
        super().__init__(label, source)
        self.window = window

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.window.maximum(inputs[0])


class QuantAvgPool(Operation):
    """Mean over a window; padding counts as real zero."""

    def __init__(self, label: str, source: Quantizer, output: Quantizer, window: Window) -> None:
        super().__init__(label, (source,), output)
        self.window = window

    def fixed_point(self) -> tuple[int, int]:
        """Multiplier and shift from the window's sum of codes to the output's codes."""
        multiplier, shift = self._factors()
        return int(multiplier), int(shift)

    def _factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return ops.fixed_point(self.sources[0].scale / self.output.scale / math.prod(self.window.kernel))

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.window.mean(inputs[0])

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        source, factors = self.sources[0], self._factors()

        def codes(x: torch.Tensor) -> torch.Tensor:
            means = self.window.mean((source.codes(x) - zero_of(source)).double())
            sums = torch.round(means * math.prod(self.window.kernel))
            return requantise(sums, *factors, zero_of(self.output), self.bounds)

        return self.straight_through(inputs, codes)


class QuantConcat(Operation):
    """Tensors joined on the channel axis, each rescaled."""

    def fixed_point(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Multipliers and shifts, one per tensor."""
        multiplier, shift = self._factors()
        return tuple(multiplier.tolist()), tuple(shift.tolist())

    def _factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return ops.fixed_point(torch.stack([s.scale for s in self.sources]) / self.output.scale)

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat(inputs, 1)

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        factors = self._factors()

        def codes(*parts: torch.Tensor) -> torch.Tensor:
            rescaled = []
            for x, source, multiplier, shift in zip(parts, self.sources, *factors, strict=True):
                centred = source.codes(x) - zero_of(source)
                rescaled.append(requantise(centred, multiplier, shift, zero_of(self.output), self.bounds))
            return torch.cat(rescaled, 1)

        return self.straight_through(inputs, codes)


class QuantClamp(Move):
    """A ReLU that could not be fused into what comes before it."""

    def __init__(self, label: str, source: Quantizer, cap: float) -> None:
        super().__init__(label, source)
        self.cap = cap

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0]

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0].clamp(*self.output.limits(self.bounds))


class QuantPad(Move):
    """Pads with real zero; `amounts` is (before, after) for every spatial axis, then channels."""

    def __init__(self, label: str, source: Quantizer, amounts: Sequence[tuple[int, int]]) -> None:
        super().__init__(label, source)
        self.amounts = tuple(amounts)

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        *spatial, channels = self.amounts
        return F.pad(inputs[0], pad_amounts(*zip(channels, *spatial, strict=True)))


class QuantSlice(Move):
    """start:stop:step for every spatial axis, then channels."""

    def __init__(self, label: str, source: Quantizer, slices: Sequence[slice]) -> None:
        super().__init__(label, source)
        self.slices = tuple(slices)

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        *spatial, channels = self.slices
        return inputs[0][(slice(None), channels, *spatial)]


class QuantFlatten(Move):
    """[N, C, ...] -> [N, F]."""

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0].flatten(1)
