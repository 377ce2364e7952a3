"""The functional form of an exported graph: in-place operations become ones that return their result.

`ExportedProgram.run_decompositions({})` does this for every graph by tracing all of it once more, which takes longer
than the export. Most networks only write in place to results that nothing else reads afterwards (`relu_` after a
batch norm); there it is enough to rename the operation and to let later readers read its result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

VIEWS = {"chunk", "contiguous", "expand_as", "flatten", "reshape", "swapaxes", "to", "unflatten"}
"""Composite operations on the memory of their operand that have axis rules of their own and may stay."""


def functional(exported: ExportedProgram) -> ExportedProgram:
    """The program without in-place operations; the one given is not to be used afterwards."""
    nodes = list(exported.graph.nodes)
    order = {node: position for position, node in enumerate(nodes)}
    aliases = _aliases(nodes)
    writes = {node: _versions(node) for node in nodes if _mutates(node)}
    plain = all(_is_plain(node, versions, aliases.get(node, ()), order) for node, versions in writes.items())
    if not plain or any(_is_hidden_view(node) for node in nodes):
        return exported.run_decompositions({})
    for node, versions in writes.items():
        node.target = _twin(node)
        later = partial(_runs_after, order, node)
        for version in versions:
            version.replace_all_uses_with(node, delete_user_cb=later)
    exported.graph.eliminate_dead_code()  # as a decomposition does: what no output needs has no channels to prune
    exported.graph_module.recompile()
    return exported


def _schema(node: fx.Node) -> Any:
    return getattr(node.target, "_schema", None) if node.op == "call_function" else None


def _mutates(node: fx.Node) -> bool:
    schema = _schema(node)
    return schema is not None and bool(schema.is_mutable)


def _is_hidden_view(node: fx.Node) -> bool:
    """Whether it is a composite operation that returns a view and that only a decomposition shows as a known one."""
    schema = _schema(node)
    if schema is None or schema.is_mutable or all(result.alias_info is None for result in schema.returns):
        return False
    composite = torch._C._dispatch_has_kernel_for_dispatch_key(node.target.name(), "CompositeImplicitAutograd")  # type: ignore[union-attr]
    return composite and schema.name.removeprefix("aten::") not in VIEWS


def _is_plain(
    node: fx.Node, versions: Sequence[fx.Node], aliases: Sequence[fx.Node], order: Mapping[fx.Node, int]
) -> bool:
    """Whether only later versions of what it writes to can see that memory afterwards, and nothing is promoted."""
    value = node.meta.get("val")
    if _twin(node) is None or not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    operands = [entry.meta.get("val") for entry in node.all_input_nodes]
    if any(isinstance(entry, Tensor) and entry.dtype != value.dtype for entry in operands):
        return False
    others = [other for other in aliases if other not in versions and order[other] < order[node]]
    if any(other.op == "placeholder" for other in (*versions, *others)):
        return False
    return not any(_runs_after(order, node, user) for other in others for user in other.users)


def _runs_after(order: Mapping[fx.Node, int], node: fx.Node, user: fx.Node) -> bool:
    return order[user] > order[node]


def _versions(node: fx.Node) -> list[fx.Node]:
    """The tensor that an in-place operation writes to, and that tensor's own earlier versions."""
    found: list[fx.Node] = []
    while _mutates(node) and isinstance(node.args[0], fx.Node):
        node = node.args[0]
        found.append(node)
    return found


def _twin(node: fx.Node) -> Any:
    """The operation with the same arguments that leaves them alone, if there is one."""
    packet, _, overload = node.target.name().removeprefix("aten::").partition(".")  # type: ignore[union-attr]
    found = getattr(getattr(torch.ops.aten, packet.removesuffix("_"), None), overload or "default", None)
    if not packet.endswith("_") or found is None or found._schema.is_mutable:
        return None
    types = [[str(argument.type) for argument in schema.arguments] for schema in (found._schema, _schema(node))]
    return found if types[0] == types[1] else None


def _aliases(nodes: list[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
    """Every tensor of the graph -> the tensors that share its memory, itself included."""
    memory: dict[int, list[fx.Node]] = {}
    found = {}
    for node in nodes:
        value = node.meta.get("val")
        if isinstance(value, Tensor):
            found[node] = memory.setdefault(value.untyped_storage()._cdata, [])
            found[node].append(node)
    return found
