"""Which groups have the same structure: what reads and makes their units, and in which order."""

from __future__ import annotations

from collections.abc import Hashable

from torch import fx

from pruning.groups import Group, Grouping
from pruning.rules import operation


def structure_classes(grouping: Grouping) -> dict[str, int]:
    """Group name -> number of its class; groups of one class do the same work with other weights.

    Two groups are isomorphic if, in the order of the graph, the same operations read the same axes of their
    parameters, and their units end in tensors that the same operations make and sum over. Sizes do not count, so
    blocks of different width compete; residual streams do if they pass through the same number of equal blocks.
    """
    nodes = {node.name: node for node in grouping.trace.program.graph.nodes}
    lifted = grouping.trace.tensors()
    readers: dict[str, list[tuple[str, int]]] = {}
    for node in nodes.values():
        for position, source in enumerate(node.all_input_nodes):
            if source.name in lifted and node.op == "call_function":
                readers.setdefault(lifted[source.name], []).append((operation(node), position))
    numbers: dict[Hashable, int] = {}
    found = {}
    for group in grouping.groups:
        parameters = tuple((tuple(readers.get(m.tensor, ())), m.axis) for m in group.members)
        signature = parameters, _ends(grouping, group, nodes)
        found[group.name] = numbers.setdefault(signature, len(numbers))
    return found


def _ends(grouping: Grouping, group: Group, nodes: dict[str, fx.Node]) -> tuple[Hashable, ...]:
    """(operation, axis, operations behind it) for every tensor where the group's units end."""
    start = grouping.start(group.name)
    return tuple(
        (operation(nodes[name]), axis, tuple(sorted(operation(user) for user in nodes[name].users)))
        for name, site in grouping.sites.items()
        for axis, units in site
        if bool(((units >= start) & (units < start + group.size)).any())
    )
