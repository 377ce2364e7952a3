"""Connections of instances in Verilog: by name or position, implicit wires, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Mapping

from multipliers.readers.errors import NetlistError
from multipliers.readers.syntax import Concatenation, Expression, Instance, Module, Reference, Signal


def by_name(instance: Instance, module: Module) -> Mapping[str, Expression | None]:
    """Connections of an instance of a module of the file, by the names of its ports."""
    if instance.pins is not None:
        for pin in instance.pins:
            if pin not in module.ports:
                raise unknown_pin(instance, pin, module.ports)
        return instance.pins
    arguments = instance.arguments or ()
    if len(arguments) > len(module.ports):
        raise NetlistError(
            f"{title(instance)} has {len(arguments)} connections, but only {len(module.ports)} ports", instance.line
        )
    return dict(zip(module.ports, arguments, strict=False))


def declare_implicit(module: Module) -> None:
    """Undeclared names in connections and on the left of assignments are wires of one bit (IEEE 1364, 4.5)."""
    waiting: list[Expression | None] = [assign.target for assign in module.assigns]
    for instance in module.instances:
        waiting += (instance.pins or {}).values() if instance.arguments is None else instance.arguments
    while waiting:
        expression = waiting.pop()
        if isinstance(expression, Concatenation):
            waiting += expression.parts
        elif isinstance(expression, Reference) and expression.name not in module.signals:
            module.signals[expression.name] = Signal(expression.name, None, None, None, False, expression.line)


def title(instance: Instance) -> str:
    """An instance as messages call it."""
    return f"'{instance.cell}' instance '{instance.name}'" if instance.name else f"'{instance.cell}'"


def unknown_pin(instance: Instance, pin: str, pins: tuple[str, ...]) -> NetlistError:
    """The error for a connection to a pin that is not there."""
    return NetlistError(f"{title(instance)} has no pin '{pin}'; its pins are {', '.join(pins)}", instance.line)


def mismatch(instance: Instance, pin: str, expected: int, got: int) -> NetlistError:
    """The error for a connection of another width than its pin."""
    return NetlistError(
        f"width mismatch: pin '{pin}' of {title(instance)} has {expected} bits, connected to {got}", instance.line
    )
