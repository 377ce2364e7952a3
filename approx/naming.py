"""Names of layers, the same wherever an exported graph is read: simulation, programs, energy."""

from collections.abc import Container


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
