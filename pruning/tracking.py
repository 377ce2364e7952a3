"""Finding groups by following the label of every axis through the traced graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, fx

from pruning.groups import Fork, Frozen, Group, Grouping, MacTerm, Sites
from pruning.labels import Labels, tracked
from pruning.rules import Context, rule_for, shape_of
from pruning.rules.context import place
from pruning.tied_atoms import Slot, TiedAtoms
from pruning.trace import Trace


def find_groups(
    trace: Trace,
    *,
    ignore: Iterable[str] = (),
    static: Mapping[str, str] | None = None,
    readings: Mapping[str, int] | None = None,
) -> Grouping:
    """Follow every channel through the graph.

    Args:
        trace: the network.
        ignore: layer-name patterns (`fnmatch`) whose output channels are all kept.
        static: group name -> reason, for groups found unable to shrink (see `pruning.probe`).
        readings: operation -> which of its readings to take, where it has several (see `Fork`).

    Raises:
        ValueError: a pattern in `ignore` matches no layer.
    """
    context = Context(Labels(), trace.batch, readings=readings or {})
    axes = _label_tensors(context, trace)
    for name, reason in _ignored(trace, ignore):
        for tensor, labelled in axes.items():
            if tensor.rpartition(".")[0] == name and labelled:
                context.labels.freeze(labelled[0], reason)
    for node in trace.program.graph.nodes:
        if node.op == "call_function":
            _apply_rule(context, node)
        elif node.op == "output":
            context.freeze(node, "network output")
    _freeze_what_sees_no_input(context, trace)
    return _collect(context, trace, axes, static or {})


def _label_tensors(context: Context, trace: Trace) -> dict[str, list[Tensor]]:
    """Atoms for every parameter and buffer, fixed labels for inputs and constants; in order of first use."""
    lifted, axes = trace.tensors(), {}
    for node in trace.program.graph.nodes:
        value = node.meta.get("val")
        if node.op != "placeholder" or not isinstance(value, Tensor):
            continue
        shape = shape_of(value)
        if node.name not in lifted:
            origin = "constant in the code" if "lifted_tensor" in node.name else "network input"
            context.env[node] = context.fixed(shape, origin)
            continue
        labelled = [
            context.labels.fresh(size) if size > 1 else context.labels.fixed(size, "single channel") for size in shape
        ]
        if not node.users:
            for axis in labelled:
                context.labels.freeze(axis, "unused by the network")
        context.env[node] = labelled
        axes[lifted[node.name]] = labelled
    order = {node: i for i, node in enumerate(trace.program.graph.nodes)}
    first_use = {
        lifted[node.name]: min((order[user] for user in node.users), default=len(order))
        for node in order
        if node.name in lifted
    }
    return dict(sorted(axes.items(), key=lambda entry: first_use[entry[0]]))


def _ignored(trace: Trace, patterns: Iterable[str]) -> list[tuple[str, str]]:
    """(layer, reason) for every layer that a pattern matches."""
    layers = [name for name, _ in trace.model.named_modules()]
    chosen = []
    for pattern in patterns:
        matches = [name for name in layers if name and fnmatchcase(name, pattern)]
        if not matches:
            raise ValueError(f"ignore: {pattern!r} matches no layer; layers: {', '.join(filter(None, layers))}")
        chosen += [(name, f"ignored by the user ({pattern})") for name in matches]
    return chosen


def _apply_rule(context: Context, node: fx.Node) -> None:
    """Label the result of an operation; arithmetic on sizes has no axes and is passed over."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor | tuple | list):
        return
    context.env[node] = rule_for(node)(context, node)
    if isinstance(value, Tensor):
        found = tuple(len(axis) for axis in context.axes(node))
        if found != shape_of(value):
            raise AssertionError(f"rule for {node.target}: labels {found} for a tensor {shape_of(value)}")


def _freeze_what_sees_no_input(context: Context, trace: Trace) -> None:
    """Channels of what is computed from parameters alone, such as a position bias: no gate would mask them."""
    data = trace.data()
    for node, ends in context.ends.items():
        if node in data or any(user in data for user in node.users):
            continue
        summing = next(iter(node.users))
        for axis in ends:
            context.labels.freeze(context.axes(node)[axis], f"summed by {place(summing)}, which sees no input")


def _collect(context: Context, trace: Trace, axes: dict[str, list[Tensor]], static: Mapping[str, str]) -> Grouping:
    """Turn tied atoms into groups of units with the same members."""
    roots, frozen = context.labels.resolve()
    table = TiedAtoms.of(axes, torch.tensor(roots, dtype=torch.int64))
    alike: dict[tuple[tuple[Slot, int], ...], list[int]] = {}
    for number, root in enumerate(table.roots):
        if root not in frozen:
            alike.setdefault(table.signature(number), []).append(number)
    groups: list[Group] = []
    unit_of_root: dict[int, int] = {}
    names: set[str] = set()
    for signature, members in alike.items():
        name = _name([slot for slot, _ in signature], names)
        names.add(name)
        if name in static:
            frozen.update(dict.fromkeys((table.roots[number] for number in members), static[name]))
            continue
        for number in members:
            unit_of_root[table.roots[number]] = len(unit_of_root)
        groups.append(Group(name, len(members), table.members(signature, members)))
    unit_of = torch.tensor([unit_of_root.get(root, -1) for root in roots] + [-1])
    weights = _sites(context, context.masked_weights, unit_of)
    sites = _sites(context, _ends_in_data(context, trace), unit_of)
    terms = tuple(
        MacTerm(term.node, term.factor, tuple(units_at(unit_of, axis) for axis in term.axes)) for term in context.terms
    )
    lifted = trace.tensors()
    whole = {lifted[node.name]: count for node, count in context.whole_groups.items() if node.name in lifted}
    forks = _forks(context, groups, unit_of)
    return Grouping(trace, tuple(groups), _frozen(table, frozen, axes), terms, sites, whole, forks, weights)


def units_at(unit_of: Tensor, axis: Tensor) -> Tensor:
    """Unit of each position of a labelled axis, -1 for fixed and frozen positions: int64 [size]."""
    return unit_of[axis.clamp(min=-1)]


def _forks(context: Context, groups: Sequence[Group], unit_of: Tensor) -> dict[str, Fork]:
    """The operations that could have been read otherwise, each with the groups on the axis it divides."""
    owner = [group.name for group in groups for _ in range(group.size)]
    forks = {}
    for node, (count, axis) in context.forks.items():
        units = units_at(unit_of, axis).unique()
        forks[node.name] = Fork(count, frozenset(owner[unit] for unit in units[units >= 0].tolist()))
    return forks


def _name(slots: Sequence[Slot], taken: set[str]) -> str:
    """The layer whose weight has this group on its output axis, numbered when a layer has several."""
    producers = [tensor for tensor, axis in slots if axis == 0 and tensor.endswith("weight")] or [slots[0][0]]
    base = producers[0].removesuffix(".weight")
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}#{number}"
    return name


def _frozen(table: TiedAtoms, frozen: Mapping[int, str], axes: Mapping[str, list[Tensor]]) -> tuple[Frozen, ...]:
    """Frozen channels, each class reported once, at the first parameter axis it is seen on."""
    counts: dict[tuple[Slot, str], int] = {}
    for root, (start, _) in zip(table.roots, table.runs, strict=True):
        if root in frozen and frozen[root] != "kernel axis":
            slot = table.slots[start]
            counts[slot, frozen[root]] = counts.get((slot, frozen[root]), 0) + table.counts[start]
    return tuple(
        Frozen(tensor, axis, count, len(axes[tensor][axis]), reason)
        for ((tensor, axis), reason), count in counts.items()
    )


def _ends_in_data(context: Context, trace: Trace) -> dict[fx.Node, set[int]]:
    """Tensors over whose channels something sums, among those that depend on the network's input."""
    data = trace.data()
    return {n: context.ends[n] for n in trace.program.graph.nodes if n in data and n in context.ends}


def _sites(context: Context, ends: Mapping[fx.Node, set[int]], unit_of: Tensor) -> Sites:
    """The units on the given axes of the given tensors, by node name, where there are any."""
    sites = {}
    for node, axes in ends.items():
        labelled = context.axes(node)
        found = [(axis, units_at(unit_of, labelled[axis])) for axis in sorted(axes)]
        present = tuple((axis, units) for axis, units in found if tracked(units))
        if present:
            sites[node.name] = present
    return sites
