"""Cutting the user's own module: shorter parameters and buffers, and layer attributes that agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from pruning.trace import tensors_of

Cuts = Mapping[tuple[str, int], tuple[int, tuple[int, ...]]]


def cut(model: nn.Module, axes: Cuts, groups: Mapping[str, int]) -> None:
    """Keep only the given positions of the given axes, in place; validates everything first.

    Args:
        model: the network.
        axes: (tensor name, axis) -> (size before, kept positions).
        groups: module name -> number of groups after the cut, of a convolution or a group norm.

    Raises:
        ValueError: a tensor or module does not exist or has another size than the plan says.
    """
    tensors = tensors_of(model)
    _validate(model, tensors, axes, groups)
    for (name, axis), (_, kept) in axes.items():
        tensor = tensors[name]
        index = torch.tensor(kept, device=tensor.device)
        gradient = None if tensor.grad is None else selected(tensor.grad, axis, index)
        _replace(tensor, selected(tensor.data, axis, index))
        tensor.grad = gradient
    for name, count in groups.items():
        layer = model.get_submodule(name)
        if isinstance(layer, nn.GroupNorm):
            layer.num_groups = count
        else:
            assert isinstance(layer, CONVOLUTIONS)
            layer.groups = count
    layers = {tensor.rpartition(".")[0].partition(".parametrizations.")[0] for tensor, _ in axes}
    for name in layers:
        _resize(model.get_submodule(name))


def selected(tensor: Tensor, axis: int, index: Tensor) -> Tensor:
    """Some positions of an axis, in the memory format the tensor has."""
    selected = tensor.index_select(axis, index)
    for rank, memory in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        if tensor.ndim == rank and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=memory):
            return selected.contiguous(memory_format=memory)
    return selected


def _replace(tensor: Tensor, value: Tensor) -> None:
    """Give a tensor a value of another shape; it stays the same object.

    While a graph that used a parameter is alive (a loss still bound to a name), autograd remembers the shape of its
    gradient and would refuse that of the next graph. It forgets it when the dtype changes, so that is changed on the
    way.
    """
    other = torch.float32 if tensor.dtype != torch.float32 else torch.float64
    tensor.grad = None
    if tensor.requires_grad:
        tensor.data = torch.empty(0, dtype=other, device=tensor.device)
    tensor.data = value


def _validate(model: nn.Module, tensors: Mapping[str, Tensor], axes: Cuts, groups: Mapping[str, int]) -> None:
    for (name, axis), (size, _) in axes.items():
        if name not in tensors:
            raise ValueError(f"plan: the network has no parameter or buffer {name!r}; was it built by another factory?")
        shape = list(tensors[name].shape)
        if axis >= len(shape) or shape[axis] != size:
            raise ValueError(
                f"plan, {name!r}: expected axis {axis} of size {size}, the network has shape {shape}; apply "
                f"a plan once, to a network fresh from the factory it was made for"
            )
    modules = dict(model.named_modules())
    for name, count in groups.items():
        if not isinstance(modules.get(name), (*CONVOLUTIONS, nn.GroupNorm)):
            raise ValueError(f"plan, groups: the network has no convolution or group norm {name!r}")
        kept = len(axes[f"{name}.weight", 0][1]) if (f"{name}.weight", 0) in axes else 0
        if count < 1 or kept % count:
            raise ValueError(f"plan, groups[{name!r}]: {count} groups do not divide {kept} kept output channels")


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def _convolution(module: nn.Module) -> None:
    assert isinstance(module, CONVOLUTIONS)
    first, per_group = module.weight.shape[0], module.weight.shape[1] * module.groups
    module.out_channels, module.in_channels = (per_group, first) if module.transposed else (first, per_group)


def _linear(module: nn.Module) -> None:
    assert isinstance(module, nn.Linear)
    module.out_features, module.in_features = module.weight.shape


def _embedding(module: nn.Module) -> None:
    assert isinstance(module, nn.Embedding)
    module.embedding_dim = module.weight.shape[1]


def _group_norm(module: nn.Module) -> None:
    assert isinstance(module, nn.GroupNorm)
    module.num_channels = module.weight.shape[0]


def _recurrent(module: nn.Module) -> None:
    assert isinstance(module, nn.RNNBase)
    module.input_size = module.get_parameter("weight_ih_l0").shape[1]
    module.hidden_size = module.get_parameter("weight_hh_l0").shape[1]
    module.flatten_parameters()


def _batch_norm(module: nn.Module) -> None:
    assert isinstance(module, nn.modules.batchnorm._NormBase)
    sized = module.weight if module.weight is not None else module.running_mean
    assert sized is not None
    module.num_features = sized.shape[0]


def _prelu(module: nn.Module) -> None:
    assert isinstance(module, nn.PReLU)
    module.num_parameters = module.weight.shape[0]


RESIZE: tuple[tuple[type[nn.Module] | tuple[type[nn.Module], ...], Callable[[nn.Module], None]], ...] = (
    (CONVOLUTIONS, _convolution),
    (nn.Linear, _linear),
    (nn.modules.batchnorm._NormBase, _batch_norm),
    (nn.GroupNorm, _group_norm),
    (nn.Embedding, _embedding),
    (nn.RNNBase, _recurrent),
    (nn.PReLU, _prelu),
)


def _resize(module: nn.Module) -> None:
    """Bring the size attributes of a layer in line with its tensors; other layers have none."""
    for kind, resize in RESIZE:
        if isinstance(module, kind):
            resize(module)
