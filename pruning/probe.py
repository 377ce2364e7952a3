"""Finding sizes written out in the user's code: a trial cut of one unit per group, compared numerically.

The traced graph cannot tell `x.view(n, 1024)` from `x.view(n, c * h * w)`; the user's own module can. A group
whose trial cut fails, or changes the result, is frozen with that reason.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import nn

from pruning.check import TOLERANCE, difference_after_cut, random_inputs
from pruning.groups import Grouping
from pruning.trace import Trace, preserved_rng
from pruning.tracking import find_groups


def find_safe_groups(trace: Trace, *, ignore: Iterable[str] = ()) -> Grouping:
    """Groups of a network, each proven on the user's module by a trial cut; see `find_groups`."""
    ignore = tuple(ignore)
    grouping = find_groups(trace, ignore=ignore)
    static = _failures(_perturbed(grouping), [group.name for group in grouping.groups if group.size > 1])
    return find_groups(trace, ignore=ignore, static=static) if static else grouping


def _failures(grouping: Grouping, names: Sequence[str]) -> dict[str, str]:
    """Group name -> reason, for the groups that cannot be cut; halves the list until single groups remain."""
    problem = _trial(grouping, names) if names else None
    if problem is None:
        return {}
    if len(names) == 1:
        return {names[0]: problem}
    half = len(names) // 2
    found = {**_failures(grouping, names[:half]), **_failures(grouping, names[half:])}
    return found or dict.fromkeys(names, f"cannot shrink together: {problem}")


def _trial(grouping: Grouping, names: Sequence[str]) -> str | None:
    """Cut one unit of each group; the reason it cannot be done, or None."""
    sizes = {group.name: group.size for group in grouping.groups}
    kept = {name: tuple(i for i in range(sizes[name]) if i != sizes[name] // 2) for name in names}
    try:
        difference = difference_after_cut(grouping, kept)
    except Exception as error:  # the user's own forward may raise anything when a size is written out in it
        text = str(error).strip().splitlines() or [type(error).__name__]
        return f"size fixed in the network's code: {text[0][:200]}"
    if difference <= TOLERANCE:
        return None
    return f"a trial cut changes the result by {difference:.3g}"


def _perturbed(grouping: Grouping) -> Grouping:
    """The same network with a healthier signal, so that a wrong cut cannot hide.

    Parameters move a little (zero-initialised ones would hide their whole branch), and batch norms take the
    statistics of random inputs (with those of a fresh network, deep activations vanish).
    """
    model = copy.deepcopy(grouping.trace.model)
    generator = torch.Generator().manual_seed(0)
    with preserved_rng(), torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(noise.to(parameter), alpha=1e-3)
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        example = grouping.trace.inputs
        model(*(x.to(like.dtype) for x, like in zip(random_inputs(example), example, strict=True)))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum
    return replace(grouping, trace=replace(grouping.trace, model=model))
