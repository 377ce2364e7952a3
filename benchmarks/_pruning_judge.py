"""Is a cut network right? One judge for every engine, which looks at weights only and at no engine's graph.

Every number a cut removes is set to zero in a copy of the dense network, and the two must agree. Which numbers those
are is read off a twin of the dense network whose parameters hold their own positions and which is cut alike.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Cutter = Callable[[nn.Module], object]
"""Cuts a network with the tensors of the dense one, in place."""


@dataclass(frozen=True)
class Verdict:
    """How a cut network compares.

    Attributes:
        difference: largest |masked - cut| over the largest |masked|, fp64, evaluation mode.
        effect: largest |dense - masked| over the largest |masked|: how much a wrong cut could show.
        renormalised: some layer norm averages over fewer channels, which the masked one was made to do as well.
    """

    difference: float
    effect: float
    renormalised: bool


def judge(dense: nn.Module, cut: nn.Module, cutter: Cutter, example: Tensor) -> Verdict:
    """Compare the cut network with the dense one whose removed numbers are zero, on a random input.

    Raises:
        ValueError: the outputs differ in number or shape.
        Exception: the cut network does not run; whatever it raises.
    """
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(example.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        got = _leaves(copy.deepcopy(cut).double().eval()(images))
        kept = survivors(dense, cutter)
        model = copy.deepcopy(dense).double().eval()
        whole = _leaves(model(images))
        _zero_removed(model, kept)
        narrowed = _narrowed_norms(model, kept)
        with _NarrowNorms(narrowed):
            masked = _leaves(model(images))
    return Verdict(relative(masked, got), relative(masked, whole), bool(narrowed))


def survivors(dense: nn.Module, cutter: Cutter) -> dict[str, Tensor]:
    """Parameter or buffer -> its positions (in memory order) that the cut keeps: int64, shaped as after the cut."""
    twin = copy.deepcopy(dense).double()
    for tensor in _floating(twin).values():
        tensor.data = torch.arange(tensor.numel(), dtype=torch.float64).reshape(tensor.shape)
    cutter(twin)
    return {name: tensor.detach().long() for name, tensor in _floating(twin).items()}


def relative(expected: list[Tensor], got: list[Tensor]) -> float:
    """Largest |expected - got| over the largest |expected|, over all outputs; NaN if there is one in either.

    Raises:
        ValueError: the outputs differ in number or shape.
    """
    shapes = [[list(tensor.shape) for tensor in tensors] for tensors in (expected, got)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"the cut network returns shapes {shapes[1]}, the dense one {shapes[0]}")
    pairs = zip(expected, got, strict=True)
    ratios = [(one - two).abs().max() / one.abs().max().clamp(min=1e-12) for one, two in pairs]
    return float(torch.stack(ratios).max())  # unlike Python's max, passes NaN on


def _zero_removed(model: nn.Module, kept: Mapping[str, Tensor]) -> None:
    for name, tensor in _floating(model).items():
        present = torch.zeros(tensor.numel(), dtype=torch.float64)
        present[kept[name].flatten()] = 1
        tensor.data = tensor.data * present.reshape(tensor.shape)


def _narrowed_norms(model: nn.Module, kept: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """id of a layer norm's weight -> its kept positions, for the norms that a cut has narrowed."""
    named = {name: module for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)}
    found = {}
    for name, norm in named.items():
        positions = kept.get(f"{name}.weight")
        if positions is not None and positions.numel() < norm.weight.numel():
            found[id(norm.weight)] = positions
    return found


class _NarrowNorms(TorchFunctionMode):
    """Layer norms of these weights average over these positions of the last axis only; the others become zero."""

    def __init__(self, narrowed: Mapping[int, Tensor]) -> None:
        super().__init__()
        self._narrowed = narrowed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not nn.functional.layer_norm:
            return func(*args, **kwargs)
        bound = dict(zip(("input", "normalized_shape", "weight", "bias", "eps"), args, strict=False)) | kwargs
        positions = self._narrowed.get(id(bound["weight"]))
        if positions is None:
            return func(*args, **kwargs)
        result = torch.zeros_like(bound["input"])
        result[..., positions] = func(
            bound["input"][..., positions],
            [len(positions)],
            bound["weight"][positions],
            bound["bias"][positions],
            bound["eps"],
        )
        return result


def _floating(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and floating-point buffers by name; a tied one under each of its names."""
    named: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    named |= dict(model.named_buffers(remove_duplicate=False))
    return {name: tensor for name, tensor in named.items() if tensor.is_floating_point()}


def _leaves(outputs: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]
