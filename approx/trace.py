"""`LayerTrace`: what one layer saw on calibration data. All that error models need, small enough to keep.

Patches are receptive fields as the circuit sees them: activation codes, padding positions holding the zero point.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from approx.layer import QuantLayer
from approx.network import QuantisedNetwork
from approx.operands import Operands
from approx.operation import Arithmetic
from approx.quantizer import quantise_weight

PATCHES = 512


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """Shapes: G groups, S patches, K fan-in, C output channels (C / G of each group).

    Attributes:
        name: layer name in the user's model.
        macs: multiplications for one image, padding positions included.
        patches: uint8 [G, S, K] sampled receptive fields.
        weight: float32 [C, K], batch normalisation folded.
        input_scale, input_zero: what the codes stand for.
        accumulator_std: float64 scalar, std of the real output before the bias over batch, positions and channels.
        channel_std: float64 [C], the same per channel.
    """

    name: str
    macs: int
    patches: npt.NDArray[np.uint8]
    weight: npt.NDArray[np.float32]
    input_scale: float
    input_zero: int
    accumulator_std: float
    channel_std: npt.NDArray[np.float64]

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

    def weight_values(
        self, operands: Operands
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """The weights in a coding: values int16 [C, K], scale float64 [C], zero int64 [C]."""
        values, scale, zero = quantise_weight(torch.from_numpy(self.weight), operands)
        return values.numpy(), scale.numpy(), zero.numpy()

    def weight_histograms(self, operands: Operands) -> npt.NDArray[np.float32]:
        """Q: float32 [C, n_w], the share of each weight value in each output channel; rows sum to 1."""
        values = self.weight_values(operands)[0].astype(np.int64) - operands.lowest
        count = operands.highest - operands.lowest + 1
        rows = np.arange(len(values))[:, None] * count + values
        histogram = np.bincount(rows.reshape(-1), minlength=len(values) * count)
        return (histogram / self.fan_in).astype(np.float32).reshape(len(values), count)

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


def trace(network: QuantisedNetwork, batches: Iterable[torch.Tensor], patches: int = PATCHES) -> dict[str, LayerTrace]:
    """Run calibration batches [N, C, H, W] through the exact network and keep what each layer saw.

    Args:
        network: calibrated.
        batches: at least one.
        patches: receptive fields sampled per layer, spread evenly over the batches.

    Raises:
        ValueError: no batch came.
    """
    batches = list(batches)
    if not batches:
        raise ValueError("tracing needs at least one batch; the loader yielded nothing")
    collectors = {name: _Collector(layer, -(-patches // len(batches))) for name, layer in network.layers().items()}
    hooks = [layer.register_forward_pre_hook(collectors[name]) for name, layer in network.layers().items()]
    try:
        with torch.no_grad(), network.using(Arithmetic.FAKE):
            for batch in batches:
                network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    images = sum(len(batch) for batch in batches)
    return {name: collector.finish(name, patches, images) for name, collector in collectors.items()}


class _Collector:
    """Forward pre-hook that samples receptive fields and sums moments of the real response."""

    def __init__(self, layer: QuantLayer, patches: int) -> None:
        self.layer, self.wanted = layer, patches
        self.random = torch.Generator().manual_seed(0)
        self.patches: list[torch.Tensor] = []
        self.moments = torch.zeros(3, len(layer.weight), dtype=torch.float64)
        self.products = 0

    def __call__(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        layer, x = self.layer, inputs[0]
        response = layer.product(x, layer.weight).double()
        rows = layer.channels_last(response).flatten(0, -2)
        self.moments += torch.stack([torch.full((rows.shape[1],), float(len(rows))), rows.sum(0), rows.square().sum(0)])
        self.products += layer.multiplications(response)
        self.patches.append(layer.receptive_fields(layer.codes(x), self.wanted, self.random))

    def finish(self, name: str, patches: int, images: int) -> LayerTrace:
        layer, seen = self.layer, torch.cat(self.patches, 1)
        spread = torch.arange(patches) * seen.shape[1] // patches  # a recurrent layer sees far more, step by step
        count, total, squares = self.moments
        variance = (squares / count - (total / count) ** 2).clamp(min=0)
        overall = (squares.sum() / count.sum() - (total.sum() / count.sum()) ** 2).clamp(min=0)
        return LayerTrace(
            name=name,
            macs=self.products // images,
            patches=seen[:, spread].contiguous().numpy(),
            weight=layer.weight.detach().flatten(1).numpy().copy(),
            input_scale=float(layer.sources[0].scale),
            input_zero=int(layer.sources[0].zero_point),
            accumulator_std=float(overall.sqrt()),
            channel_std=variance.sqrt().numpy(),
        )


def save_traces(traces: Mapping[str, LayerTrace], path: Path | str) -> None:
    """Write all traces to one safetensors file."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for name, t in traces.items():
        arrays |= {
            f"{name}|patches": t.patches,
            f"{name}|weight": t.weight,
            f"{name}|channel_std": t.channel_std,
        }
        arrays[f"{name}|scalars"] = np.array([t.macs, t.input_scale, t.input_zero, t.accumulator_std])
    save_file(arrays, str(path), {"layers": "\n".join(traces)})


def load_traces(path: Path | str) -> dict[str, LayerTrace]:
    """Read what `save_traces` wrote, layers in execution order."""
    with safe_open(str(path), "np") as file:
        return {name: _load(file, name) for name in file.metadata()["layers"].split("\n")}


def _load(file: safe_open, name: str) -> LayerTrace:
    macs, scale, zero, std = file.get_tensor(f"{name}|scalars")
    patches, weight, channel_std = (file.get_tensor(f"{name}|{part}") for part in ("patches", "weight", "channel_std"))
    return LayerTrace(name, int(macs), patches, weight, float(scale), int(zero), float(std), channel_std)
