"""What is refused before anything is traced or scored."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import prune as masking
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from pruning.criteria.base import Batches, Criterion
from pruning.trace import tensors_of

REWRITERS = {
    WeightNorm: "torch.nn.utils.remove_weight_norm",
    SpectralNorm: "torch.nn.utils.remove_spectral_norm",
    masking.BasePruningMethod: "torch.nn.utils.prune.remove",
}
"""Hooks that write a layer's weight anew before every forward pass, and what takes them off."""

HALF = (torch.float16, torch.bfloat16)


def require_data_where_it_belongs(criterion: Criterion, loader: Batches | None) -> None:
    """Data for a criterion that needs it, and for no other.

    Raises:
        ValueError: data is missing or superfluous.
    """
    if criterion.needs_data and loader is None:
        raise ValueError(f"criterion {criterion.name!r} needs data: pass loader=, an iterable of (inputs, targets)")
    if not criterion.needs_data and loader is not None:
        raise ValueError(f"criterion {criterion.name!r} uses no data: leave out loader=, or choose another criterion")


def require_sound_network(model: nn.Module, criterion: Criterion) -> None:
    """A network whose weights are its own and can be scored.

    Criteria without data compute in float64 from the weights, whatever their dtype. Those that run the network are
    refused in half precision, where small gradients vanish; checks of a cut are always in float64.

    Raises:
        ValueError: a hook writes a layer's weight, a tensor holds NaN, a parameter infinity, or a criterion would run
            it in half precision (the layer or the tensor is named).
    """
    for name, module in model.named_modules():
        for hook in module._forward_pre_hooks.values():
            for kind, remedy in REWRITERS.items():
                if isinstance(hook, kind):
                    raise ValueError(
                        f"layer {name!r}: {kind.__name__} computes its weight before every forward pass, so the weight "
                        f"cannot be cut; call {remedy}() on it first"
                    )
    require_whole_tensors(model, "so nothing can be scored or checked")
    for name, tensor in tensors_of(model).items():
        if criterion.needs_data and tensor.dtype in HALF:
            raise ValueError(
                f"criterion {criterion.name!r} runs the network, whose {name!r} is {tensor.dtype}: small gradients "
                f"vanish in half precision. Prune a copy, copy.deepcopy(model).float(), with data of that dtype, and "
                f"apply the plan to the network: result.plan.apply(model)."
            )


def require_whole_tensors(model: nn.Module, consequence: str) -> None:
    """Numbers only; a buffer may hold infinity, as masks of attention do.

    Args:
        model: the network.
        consequence: for the message.

    Raises:
        ValueError: a parameter or a buffer holds NaN, or a parameter infinity (it is named).
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, tensor in tensors_of(model).items():
        has_nan = bool(tensor.isnan().any())
        if has_nan or (name in parameters and bool(tensor.isinf().any())):
            found = "NaN" if has_nan else "infinity"
            raise ValueError(f"{type(model).__name__}, tensor {name!r}: holds {found}, {consequence}")
