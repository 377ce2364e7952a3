"""The batch norms of a group: which scale and which offset act on each unit."""

from __future__ import annotations

from torch import fx

from pruning.groups import Grouping, Member

Norm = tuple[Member, str]
"""The axis of a batch norm's scale, gamma, and the name of its offset, beta, which has the same positions."""


def norms_of(grouping: Grouping, criterion: str) -> dict[str, list[Norm]]:
    """Group name -> its batch norms, at least one.

    Args:
        grouping: the network and its groups.
        criterion: who asks, for the message.

    Raises:
        ValueError: groups have no batch norm with a scale (they are named).
    """
    lifted, offsets = grouping.trace.tensors(), {}
    for node in grouping.trace.program.graph.nodes:
        if node.op == "call_function" and "batch_norm" in str(node.target):
            scale, offset = node.args[1:3]
            if isinstance(scale, fx.Node) and scale.name in lifted:
                offsets[lifted[scale.name]] = lifted[offset.name]
    found = {g.name: [(m, offsets[m.tensor]) for m in g.members if m.tensor in offsets] for g in grouping.groups}
    without = [name for name, norms in found.items() if not norms]
    if without:
        raise ValueError(
            f"criterion {criterion!r} scores batch norms, and these groups have none: {', '.join(without)}; "
            f"leave them out with ignore=, or choose another criterion"
        )
    return found
