"""The true error of circuits in a layer: every output of every recorded image, bit-exact, after free correction."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from approx import Arithmetic, Assignment, LayerChoice, QuantisedNetwork
from approx.correction import GAIN_LIMITS, require_uncorrected
from approx.multiplying import Multiplying
from approx.operands import Operands
from approx.visiting import CHUNK
from multipliers import Multiplier
from noise_models.sensitivity.recording import LayerRecord


class LayerErrors:
    """Circuits' responses minus the exact ones of the same weight coding. Final.

    Free correction is as in `approx.correction`: gain and bias by output channel that restore the exact mean and std;
    the layers inside a recurrent one keep their error.
    """

    def __init__(self, network: QuantisedNetwork, library: Mapping[str, Multiplier]) -> None:
        """Copies the network.

        Args:
            network: calibrated; its circuits are ignored.
            library: circuits by name.

        Raises:
            ValueError: the network is corrected already.
        """
        require_uncorrected(network)
        self.network = copy.deepcopy(network).use(Arithmetic.INTEGER)
        self.library = library
        self._correctable = {step.label for step in network.operations() if isinstance(step, Multiplying)}
        self._exact: tuple[str, Operands, _Response] | None = None

    def of(self, name: str, choice: LayerChoice, seen: LayerRecord) -> list[torch.Tensor]:
        """The error by call, float32 [R, O, ...] each, real units.

        Args:
            name: of the layer.
            choice: how it is run.
            seen: what it reads.

        Raises:
            ValueError: there is no such layer or circuit, or the circuit does not fit.
        """
        self.network.assign(Assignment({name: choice}), self.library)
        layer = self.network.multiplying()[name]
        codes = tuple(torch.cat(parts) for parts in zip(*seen.codes, strict=True))
        approximate, exact = _Response.of(layer, codes), self._exact_response(name, layer, codes)
        error = approximate.values - exact.values
        if name in self._correctable:
            gain = torch.where(approximate.std > 0, exact.std / approximate.std.clamp(min=1e-12), 1.0)
            gain = gain.clamp(*GAIN_LIMITS)
            scale, shift = (layer.per_channel(p.float(), error) for p in (gain, exact.mean - gain * approximate.mean))
            error = torch.addcmul(shift - exact.values, approximate.values, scale)
        return list(error.split([len(part) for part in seen.images]))

    def _exact_response(self, name: str, layer: Multiplying, codes: tuple[torch.Tensor, ...]) -> "_Response":
        """Kept until another layer or coding is asked for: candidates come layer by layer."""
        if self._exact is None or self._exact[:2] != (name, layer.operands):
            layer.use_circuit("exact", layer.operands, None)
            self._exact = name, layer.operands, _Response.of(layer, codes)
        return self._exact[2]


@dataclass(frozen=True, eq=False)
class _Response:
    """Of a layer before the bias: values float32 [R, O, ...], their mean and std by output channel float64 [O]."""

    values: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, layer: Multiplying, codes: tuple[torch.Tensor, ...]) -> "_Response":
        found = []
        for part in zip(*(read.split(CHUNK) for read in codes), strict=True):
            reals = (source.reals(read) for source, read in zip(layer.sources, part, strict=True))
            found.append(layer.response(*map(layer.channels_first, reals)))
        values = torch.cat(found)
        rows = layer.by_channel(values).flatten(0, 1).double()
        mean = rows.mean(0)
        return cls(values, mean, (rows - mean).square_().mean(0).sqrt())
