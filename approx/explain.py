"""Which kernel computes each layer of a network, how long it should take and how long it takes here."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from approx.kernels import dispatch
from approx.kernels.compiled import kernel_problem
from approx.kernels.geometry import ConvGeometry, conv_geometry
from approx.layer import QuantLayer
from approx.matmul import QuantMatmul
from approx.multiplying import Multiplying
from approx.network import QuantisedNetwork
from approx.operation import Arithmetic

ROUNDS = 5
_Timed = tuple[Callable[[], object], Callable[[], object], str]
"""What is timed, the same in float, and its shape."""


@dataclass(frozen=True)
class LayerKernel:
    """The kernel of one layer for one batch.

    Attributes:
        layer: name in the user's model.
        circuit: name of its multiplier; "exact" where products are exact.
        shape: "N x H x W x C -> O, kh x kw", batch first; of products of two activations "N x P x K -> O".
        path: the kernel's module name; several, joined by " + ", where a layer takes several.
        predicted_ms: by the cost model, on one thread; NaN where kernels cannot be used (path "reference").
        measured_ms: median of five runs, on torch's current number of threads.
        float_ms: torch's float convolution or product of the same shape, the same way.
    """

    layer: str
    circuit: str
    shape: str
    path: str
    predicted_ms: float
    measured_ms: float
    float_ms: float


def explain_kernels(network: QuantisedNetwork, images: torch.Tensor) -> list[LayerKernel]:
    """Time the sums of products of every layer, and of every product of two activations, on what it sees for a batch.

    Args:
        network: calibrated, circuits assigned.
        images: one batch [N, C, H, W].

    Raises:
        ValueError: the network is not calibrated.
    """
    seen: dict[str, tuple[torch.Tensor, ...]] = {}
    steps = network.multiplying()
    hooks = [
        step.register_forward_pre_hook(lambda _, inputs, name=name: seen.setdefault(name, inputs) and None)
        for name, step in steps.items()
    ]
    try:
        with torch.no_grad(), network.using(Arithmetic.FAKE):
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    with torch.no_grad():
        return [_explained(name, step, *seen[name]) for name, step in steps.items() if name in seen]


def _explained(name: str, step: Multiplying, *inputs: torch.Tensor) -> LayerKernel:
    run, float_run, shape = _layer(step, *inputs) if isinstance(step, QuantLayer) else _matmul(step, *inputs)
    float_ms, measured_ms = _median_ms(float_run), _median_ms(run)
    with _KernelCalls() as calls:
        run()
    path = " + ".join(dict.fromkeys(calls.paths))
    return LayerKernel(name, step.circuit, shape, path, calls.predicted_ms, measured_ms, float_ms)


def _layer(layer: QuantLayer, x: torch.Tensor) -> _Timed:
    numbers, codes = layer.integers(), layer.codes(x)
    kernel = "" if layer.weight.dim() == 2 else ", " + " x ".join(map(str, layer.weight.shape[2:]))
    shape = f"{' x '.join(map(str, codes.shape))} -> {len(layer.weight)}{kernel}"
    return lambda: layer.sums(codes, numbers), lambda: layer.product(x, layer.weight), shape


def _matmul(step: Multiplying, x: torch.Tensor, w: torch.Tensor) -> _Timed:
    assert isinstance(step, QuantMatmul)
    pairs = step.pairs(x, w)
    shape = f"{' x '.join(map(str, x.shape))} -> {w.shape[-1]}"
    return lambda: [step.sums(codes, second.values) for codes, second in pairs], lambda: x @ w, shape


class _KernelCalls(TorchDispatchMode):
    """Notes which kernels table operators choose while the block runs, and what the cost model expects of them."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []
        self.predicted_ms = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.picojoule.table_conv2d.default:
            codes, index, table, stride, padding, dilation, groups, _ = args
            self._note(table, conv_geometry(codes, index, tuple(stride), tuple(padding), tuple(dilation), groups))
        elif func is torch.ops.picojoule.table_matmul.default:
            codes, index, table = args
            self._note(table, conv_geometry(codes[:, None, None], index[:, None, None], (1, 1), (0,) * 4, (1, 1), 1))
        return func(*args, **(kwargs or {}))

    def _note(self, table: torch.Tensor, geometry: ConvGeometry) -> None:
        if kernel_problem() is not None:
            self.paths.append("reference")
            self.predicted_ms = math.nan
            return
        chosen, prepared = dispatch.cheapest(table, geometry)
        self.paths.append(chosen.name)
        self.predicted_ms += 1e-6 * dispatch.predicted_ns(chosen, geometry, prepared)


def _median_ms(run: Callable[[], object]) -> float:
    return 1e3 * statistics.median(_seconds(run))


def _seconds(run: Callable[[], object]) -> Iterator[float]:
    run()
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        yield time.perf_counter() - start
