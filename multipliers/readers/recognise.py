"""Recognises modules that define a cell, so that a full adder stays one gate instead of its five.

EvoApproxLib appends such definitions to its files (``module PDKGENFAX1(...)``, some under damaged names). A module
counts as a gate kind only if it has exactly its pins and computes exactly its function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from multipliers.gates import GATE_KINDS, GateKind
from multipliers.netlist import ONE, ZERO
from multipliers.readers.graph import NetGraph
from multipliers.readers.syntax import Module

Flatten = Callable[[Module, NetGraph], dict[str, list[int]]]


def gate_kind(module: Module, flatten: Flatten) -> str | None:
    """The gate kind a module defines, None if it is none.

    Args:
        module: instantiates no other module of its file.
        flatten: puts a module into a graph; gives the nets of its signals.
    """
    candidates = [kind for kind in GATE_KINDS.values() if _same_pins(kind, module)]
    if not candidates:
        return None
    pins, rows = candidates[0].inputs, 1 << len(candidates[0].inputs)
    mask = (1 << rows) - 1
    columns = [sum(1 << row for row in range(rows) if row >> k & 1) for k in range(len(pins))]
    graph = NetGraph()
    nets = flatten(module, graph)
    gates, outputs = graph.ordered([nets[pin][0] for pin in candidates[0].outputs])
    values = {ZERO: 0, ONE: mask, **{nets[pin][0]: column for pin, column in zip(pins, columns, strict=True)}}
    for gate in gates:
        results = GATE_KINDS[gate.kind].function(*(values[net] for net in gate.inputs))
        values.update(zip(gate.outputs, results, strict=True))
    found = _masked((values[net] for net in outputs), mask)
    return next((kind.name for kind in candidates if _masked(kind.function(*columns), mask) == found), None)


def _masked(values: Iterable[int], mask: int) -> list[int]:
    return [value & mask for value in values]


def _same_pins(kind: GateKind, module: Module) -> bool:
    ports = [module.signals[name] for name in module.ports]
    return (
        all(port.msb is None for port in ports)
        and {port.name for port in ports if port.direction == "input"} == set(kind.inputs)
        and {port.name for port in ports if port.direction == "output"} == set(kind.outputs)
    )
