"""Workloads of a network's layers, from a float network or a `Program`."""

from dataclasses import replace
from math import prod

import torch
from torch import nn

from approx.capture import export
from approx.naming import module_path, unique
from deploy.layer_workload import ACTIVATION_BITS as ACTIVATION_BITS
from deploy.layer_workload import WEIGHT_BITS as WEIGHT_BITS
from deploy.layer_workload import LayerWorkload as LayerWorkload
from deploy.program import Conv2d, Linear, Program
from deploy.workload_rules import RULES, is_free


def workloads_of_module(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[LayerWorkload, ...]:
    """Workloads of a float network, in execution order, from `torch.export`'s graph. Needs no data.

    A module that is applied again is another workload, its name followed by "_2". Operations without
    multiply-accumulates (activations, pooling, batch normalisation, reshaping, element-wise arithmetic) are
    passed over.

    Args:
        model: any exportable module; its training flags are restored.
        input_shape: of one image, (C, H, W) or (F,), without the batch.

    Raises:
        ValueError: the network has an operation whose work is not known (e.g. a transposed convolution); names the
            operation and its module.
    """
    program = export(model, torch.zeros(1, *input_shape))
    parameters = program.graph_signature.inputs_to_parameters
    found: dict[str, LayerWorkload] = {}
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        operation = str(node.target)
        if operation in RULES:
            for work in RULES[operation](node, parameters):
                name = unique(work.name, found)
                found[name] = replace(work, name=name)
        elif not is_free(operation):
            raise ValueError(
                f"operation {operation!r} in module {module_path(node) or '(top)'!r}: MACs not known; "
                f"counted are {sorted(RULES)}. Replace it, or account for the rest alone"
            )
    if not found:
        raise ValueError(f"{type(model).__name__} has no convolution or linear layer to account for")
    return tuple(found.values())


def workloads_of_program(program: Program) -> tuple[LayerWorkload, ...]:
    """Workloads of a program's convolution and linear operations, in execution order, by name."""
    return tuple(
        _program_workload(operation, program)
        for operation in program.operations
        if isinstance(operation, Conv2d | Linear)
    )


def _program_workload(operation: Conv2d | Linear, program: Program) -> LayerWorkload:
    values = operation.weights.values
    channels = values.shape[0]
    return LayerWorkload(
        name=operation.name,
        kind="conv2d" if isinstance(operation, Conv2d) else "linear",
        fan_in=int(prod(values.shape[1:])),
        channels=channels,
        groups=operation.groups if isinstance(operation, Conv2d) else 1,
        positions=program.tensors[operation.output].size // channels,
        inputs=program.tensors[operation.inputs[0]].size,
        weight_bits=9 if operation.weights.operands == "sign-magnitude-9" else WEIGHT_BITS,
    )
