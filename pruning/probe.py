"""Finding sizes written out in the user's code: trial cuts of every group, compared numerically.

The traced graph cannot tell `x.view(n, 1024)` from `x.view(n, c * h * w)`; the user's own module can. A group
whose trial cut fails, or changes the result, is frozen with that reason, once every other reading of the
operations that divide its channels has been tried (`pruning.groups.Fork`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from pruning.check import TOLERANCE, difference_after_cut, random_inputs, require_equal
from pruning.groups import Group, Grouping
from pruning.plan import Plan
from pruning.trace import Inputs, Trace, preserved_rng, tensors_of
from pruning.tracking import find_groups

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
EXAMPLES = 4
"""How many times the batch of the trace a fresh batch norm takes its statistics from."""

ROUNDING = 1e-4
"""Relative difference of two fp32 runs that is put down to rounding until the same cut is tried in fp64."""


def find_safe_groups(trace: Trace, *, ignore: Iterable[str] = ()) -> Grouping:
    """Groups of a network, each proven on the user's module by a trial cut; see `find_groups`.

    Trials are made in single precision, several times as fast, and all that passed once more together in double. If
    those fail, a wrong cut was as small as rounding, and everything is tried again in double. A network in double
    precision may hold constants of that type in its code, so it is only tried so.
    """
    ignore = tuple(ignore)
    if not any(parameter.dtype == torch.float64 for parameter in trace.model.parameters()):
        grouping = _proven(trace, ignore, torch.float32)
        names = [group.name for group in _suspects_last(grouping)]
        if not names or _trial(_perturbed(grouping), names, torch.float64) is None:
            return grouping
    return _proven(trace, ignore, torch.float64)


def _proven(trace: Trace, ignore: tuple[str, ...], dtype: torch.dtype) -> Grouping:
    """The groups whose trial cuts in this precision succeed."""
    readings: dict[str, int] = {}
    verdicts: dict[Group, str | None] = {}
    while True:
        grouping = find_groups(trace, ignore=ignore, readings=readings)
        untried = [group for group in _suspects_last(grouping) if group not in verdicts]
        failures = _failures(_perturbed(grouping), [group.name for group in untried], dtype)
        verdicts |= {group: failures.get(group.name) for group in untried}
        static = {group.name: reason for group in grouping.groups if (reason := verdicts.get(group))}
        refuted = _refuted(grouping, static, readings)
        if not refuted:
            break
        readings |= {node: readings.get(node, 0) + 1 for node in refuted}
    return find_groups(trace, ignore=ignore, static=static, readings=readings) if static else grouping


def _refuted(grouping: Grouping, static: Mapping[str, str], readings: Mapping[str, int]) -> list[str]:
    """Operations to be read another way: everything that they pass on failed its trial."""
    return [
        node
        for node, fork in grouping.forks.items()
        if readings.get(node, 0) + 1 < fork.readings and fork.groups and fork.groups <= static.keys()
    ]


def _suspects_last(grouping: Grouping) -> list[Group]:
    """The groups worth a trial; the likely failures side by side, so that halving finds them soon."""
    forked = {name for fork in grouping.forks.values() for name in fork.groups}
    return sorted((group for group in grouping.groups if group.size > 1), key=lambda group: group.name in forked)


def _failures(grouping: Grouping, names: Sequence[str], dtype: torch.dtype) -> dict[str, str]:
    """Group name -> reason, for the groups that cannot be cut; halves the list until single groups remain."""
    problem = _trial(grouping, names, dtype) if names else None
    if problem is None:
        return {}
    if len(names) == 1:
        return {names[0]: problem}
    half = len(names) // 2
    found = {**_failures(grouping, names[:half], dtype), **_failures(grouping, names[half:], dtype)}
    return found or dict.fromkeys(names, f"cannot shrink together: {problem}")


def _trial(grouping: Grouping, names: Sequence[str], dtype: torch.dtype) -> str | None:
    """Cut the middle unit of each group, then half of its units; the reason it cannot be done, or None.

    One unit alone may be the one place where a split into pieces of a written size still works, and half of
    them may leave a size that happens to divide.
    """
    sizes = {group.name: group.size for group in grouping.groups if group.name in names}
    one = {name: tuple(i for i in range(size) if i != size // 2) for name, size in sizes.items()}
    generator = torch.Generator().manual_seed(0)
    order = {name: torch.randperm(size, generator=generator).tolist() for name, size in sizes.items()}
    half = {name: tuple(sorted(order[name][: (size + 1) // 2])) for name, size in sizes.items()}
    for kept in (one, half):
        try:
            difference = _difference(grouping, kept, dtype)
        except Exception as error:  # the user's own forward may raise anything when a size is written out in it
            text = str(error).strip().splitlines() or [type(error).__name__]
            return f"size fixed in the network's code: {text[0][:200]}"
        if not difference <= TOLERANCE:
            return f"a trial cut changes the result by {difference:.3g}"
    return None


def _difference(grouping: Grouping, kept: Mapping[str, tuple[int, ...]], dtype: torch.dtype) -> float:
    """Masked against cut, zero if single precision shows no more than its own rounding."""
    if dtype == torch.float32 and difference_after_cut(grouping, kept, dtype) <= ROUNDING:
        return 0.0
    return difference_after_cut(grouping, kept)


def _perturbed(grouping: Grouping) -> Grouping:
    """The same network with a healthier signal, so that a wrong cut cannot hide.

    Parameters move a little (zero-initialised ones would hide their whole branch), and batch norms that have never
    been trained take the statistics of random inputs (with mean 0 and variance 1 deep activations vanish).
    """
    model = copy.deepcopy(grouping.trace.model)
    generator = torch.Generator().manual_seed(0)
    with preserved_rng(), torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(noise.to(parameter), alpha=1e-3)
        fresh = [module for module in model.modules() if isinstance(module, BatchNorm) and _is_fresh(module)]
        if fresh:
            _take_statistics(model, fresh, grouping.trace.inputs)
    return replace(grouping, trace=replace(grouping.trace, model=model))


def _is_fresh(norm: BatchNorm) -> bool:
    """Whether the statistics are those a batch norm starts with."""
    return norm.running_mean is not None and not bool(norm.running_mean.any())


def _take_statistics(model: nn.Module, norms: Sequence[BatchNorm], example: Inputs) -> None:
    """Give batch norms the statistics of random inputs, several batches at once where the network takes them."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    try:
        _run_randomly(model, tuple(torch.cat([x] * EXAMPLES) for x in example))
    except Exception:  # the user's own forward may have the size of a batch written out, and raise anything
        _run_randomly(model, example)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum


def _run_randomly(model: nn.Module, example: Inputs) -> None:
    model(*(x.to(like.dtype) for x, like in zip(random_inputs(example), example, strict=True)))


def require_equal_cut(grouping: Grouping, kept: Mapping[str, tuple[int, ...]], pruned: nn.Module) -> float:
    """`require_equal` of a cut network as it is, and again with a healthier signal, so that it can fail.

    A head of zeros gives equal outputs whatever is in front of it. What `_perturbed` changes is added to copies of both
    networks.

    Args:
        grouping: the network before the cut.
        kept: units kept per group.
        pruned: the network after the cut; untouched.

    Returns:
        The difference of the network as it is.

    Raises:
        RuntimeError: the cut network is not the masked one and must not be used.
    """
    found = require_equal(grouping, kept, pruned)
    healthy = _perturbed(grouping)
    before, after = tensors_of(grouping.trace.model), tensors_of(healthy.trace.model)
    change, twin = copy.deepcopy(healthy.trace.model).double(), copy.deepcopy(pruned).double()
    with torch.no_grad():
        for name, tensor in tensors_of(change).items():
            if tensor.is_floating_point():
                tensor.copy_(after[name].double() - before[name].double())
        changes = tensors_of(Plan.from_kept(grouping, kept).apply(change))
        for name, tensor in [*twin.named_parameters(), *twin.named_buffers()]:
            if tensor.is_floating_point():
                tensor.add_(changes[name])
    require_equal(healthy, kept, twin)
    return found
