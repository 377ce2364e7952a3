"""`trace`: runs calibration data through a network and keeps what each layer saw."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch

from approx.grid import Grid
from approx.layer import QuantLayer
from approx.matmul import QuantMatmul
from approx.multiplying import Multiplying
from approx.network import QuantisedNetwork
from approx.operation import Arithmetic
from approx.trace import PATCHES, LayerTrace

MATRICES = 16
"""Pairs of matrices sampled of a product of two activations; `PATCHES` / `MATRICES` rows and columns of each."""


def trace(network: QuantisedNetwork, batches: Iterable[torch.Tensor], patches: int = PATCHES) -> dict[str, LayerTrace]:
    """Run calibration batches [N, C, H, W] through the exact network and keep what each layer saw.

    Args:
        network: calibrated.
        batches: at least one.
        patches: receptive fields sampled per layer, spread evenly over the batches.

    Returns:
        Name -> trace of every layer with weights and every product of two activations, in execution order.

    Raises:
        ValueError: no batch came.
    """
    batches = list(batches)
    if not batches:
        raise ValueError("tracing needs at least one batch; the loader yielded nothing")
    steps = network.multiplying()
    collectors = {name: _collector(step, patches, len(batches)) for name, step in steps.items()}
    hooks = [step.register_forward_pre_hook(collectors[name]) for name, step in steps.items()]
    try:
        with torch.no_grad(), network.using(Arithmetic.FAKE):
            for batch in batches:
                network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    images = sum(len(batch) for batch in batches)
    return {name: collector.finish(name, images) for name, collector in collectors.items()}


def _collector(step: Multiplying, patches: int, batches: int) -> "_Collector":
    if isinstance(step, QuantLayer):
        return _LayerCollector(step, patches, batches)
    assert isinstance(step, QuantMatmul)
    return _MatmulCollector(step, patches, batches)


class _Collector(ABC):
    """Forward pre-hook that samples operands and sums moments of the real response. Abstract."""

    def __init__(self, step: Multiplying, patches: int, batches: int) -> None:
        self.patches, self.batches = patches, batches
        self.random = torch.Generator().manual_seed(0)
        self.moments = torch.zeros(3, len(step.gain), dtype=torch.float64)
        self.products = 0

    @abstractmethod
    def __call__(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        """Before a layer runs on its inputs."""

    @abstractmethod
    def finish(self, name: str, images: int) -> LayerTrace:
        """Of so many images."""

    def add(self, response: torch.Tensor) -> None:
        """Another response [..., C]."""
        rows = response.flatten(0, -2).double()
        self.moments += torch.stack([torch.full((rows.shape[1],), float(len(rows))), rows.sum(0), rows.square().sum(0)])

    def deviations(self) -> tuple[float, torch.Tensor]:
        """Std of all responses, and of each channel's, float64 [C]."""
        count, total, squares = self.moments
        variance = (squares / count - (total / count) ** 2).clamp(min=0)
        overall = (squares.sum() / count.sum() - (total.sum() / count.sum()) ** 2).clamp(min=0)
        return float(overall.sqrt()), variance.sqrt()


class _LayerCollector(_Collector):
    """Of a layer with weights."""

    def __init__(self, layer: QuantLayer, patches: int, batches: int) -> None:
        super().__init__(layer, patches, batches)
        self.layer = layer
        self.seen: list[torch.Tensor] = []

    def __call__(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        layer, x = self.layer, inputs[0]
        response = layer.product(x, layer.weight)
        self.add(layer.channels_last(response))
        self.products += layer.multiplications(response)
        self.seen.append(layer.receptive_fields(layer.codes(x), -(-self.patches // self.batches), self.random))

    def finish(self, name: str, images: int) -> LayerTrace:
        layer, source, seen = self.layer, self.layer.sources[0], torch.cat(self.seen, 1)
        overall, by_channel = self.deviations()
        return LayerTrace(
            name=name,
            macs=self.products // images,
            patches=seen[:, _spread(seen.shape[1], self.patches)].contiguous().numpy(),
            weight=layer.weight.detach().flatten(1).numpy().copy(),
            input_scale=float(source.scale),
            input_zero=int(source.zero_point),
            accumulator_std=overall,
            channel_std=by_channel.numpy(),
        )


class _MatmulCollector(_Collector):
    """Of a product of two activations: rows of the first and columns of the second of the same pairs of matrices."""

    def __init__(self, step: QuantMatmul, patches: int, batches: int) -> None:
        super().__init__(step, patches, batches)
        self.step = step
        self.rows: list[torch.Tensor] = []
        self.columns: list[torch.Tensor] = []

    def __call__(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        x, w = inputs
        response = self.step.factor * (x @ w)
        self.add(response.reshape(-1, 1))
        self.products += response.numel() * x.shape[-1]
        x, w = x.flatten(0, -3), w.flatten(0, -3)
        pairs = torch.randperm(len(x), generator=self.random)[: -(-MATRICES // self.batches)]
        self.rows.append(self._some(self.step.sources[0].byte_codes(x[pairs])))
        self.columns.append(self._some(w[pairs].mT))

    def _some(self, rows: torch.Tensor) -> torch.Tensor:
        """At most so many rows of each matrix [M, P, K]."""
        chosen = torch.rand(rows.shape[:2], generator=self.random).argsort(1)[:, : -(-self.patches // MATRICES)]
        return rows.gather(1, chosen[..., None].expand(-1, -1, rows.shape[2]))

    def finish(self, name: str, images: int) -> LayerTrace:
        (first, second), factor = self.step.sources, self.step.factor
        rows, columns = torch.cat(self.rows), torch.cat(self.columns)
        kept = _spread(len(rows), min(MATRICES, len(rows)))
        overall, by_channel = self.deviations()
        return LayerTrace(
            name=name,
            macs=self.products // images,
            patches=rows[kept].numpy(),
            weight=(factor * columns[kept]).flatten(0, 1).numpy(),
            input_scale=float(first.scale),
            input_zero=int(first.zero_point),
            accumulator_std=overall,
            channel_std=by_channel.numpy(),
            weight_grid=Grid(factor * float(second.scale), int(second.zero_point), second.bits),
        )


def _spread(seen: int, kept: int) -> torch.Tensor:
    """Numbers of those kept of what was seen, evenly; a recurrent layer sees far more than wanted, step by step."""
    return torch.arange(kept) * seen // kept
