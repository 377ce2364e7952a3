"""Names of layers, the same wherever an exported graph is read: simulation, programs, energy."""

from collections.abc import Container
from typing import Any

from torch import fx

_PASSES_ON = {"dropout", "contiguous", "clone", "alias", "detach", "to", "_to_copy", "view", "reshape", "expand"}


def module_path(node: fx.Node) -> str:
    """Dotted name of the innermost module of the user's model that an exported node comes from, "" for the top."""
    stack: dict[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    return next((entry[0] for entry in reversed(stack.values()) if entry[0]), "")


def part_label(node: fx.Node, part: str) -> str:
    """Name of a part of the module that an exported node comes from: "blocks.0.attention.qk"."""
    return f"{module_path(node)}.{part}".lstrip(".")


def product_label(node: fx.Node) -> str:
    """Name of an exported matrix product of two activations by what it is in an attention.

    Its part is "av" behind a softmax, "qk" before one, otherwise "matmul".
    """
    before = node.args[0]
    while isinstance(before, fx.Node) and _operation(before) in _PASSES_ON:
        before = before.args[0]
    if isinstance(before, fx.Node) and "softmax" in _operation(before):
        return part_label(node, "av")
    after = node
    while len(after.users) == 1:
        after = next(iter(after.users))
        if "softmax" in _operation(after):
            return part_label(node, "qk")
    return part_label(node, "matmul")


def _operation(node: fx.Node) -> str:
    """ "dropout" of "aten.dropout.default"."""
    return str(node.target).removeprefix("aten.").split(".")[0]


def layer_label(parameter: str) -> str:
    """Name of a layer by its weight parameter: "layer1.0.conv1.weight" -> "layer1.0.conv1", "weight" -> "layer".

    One of several weights of a module keeps its own name: "attention.in_proj_weight" -> "attention.in_proj".
    """
    if parameter.endswith("_weight"):
        return parameter.removesuffix("_weight")
    return parameter.removesuffix("weight").rstrip(".") or "layer"


def unique(label: str, taken: Container[str]) -> str:
    """The label, or with "_2", "_3", ... behind it where a layer is applied again."""
    candidate, count = label, 2
    while candidate in taken:
        candidate, count = f"{label}_{count}", count + 1
    return candidate
