"""Finds the two operands and the product among the ports of a module: by name, never by position.

70 of the C files of EvoApproxLib take their arguments as (B, A), and most approximate multipliers are not symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence

from multipliers.readers.errors import NetlistError
from multipliers.readers.syntax import Signal

_USUAL_NAMES = (("A", "B"), ("a", "b"))


def bind_ports(
    module: str, ports: Sequence[Signal], operands: tuple[str, str] | None, signed: bool | None, line: int | None
) -> tuple[Signal, Signal, Signal, bool]:
    """Which ports are operand a, operand b and the product, and whether they are signed.

    Args:
        module: name of the module, for messages.
        ports: all ports of it.
        operands: names of operand a and b; None looks for A and B, then a and b.
        signed: what the caller says; None takes the ``signed`` keyword of the operands.
        line: line of the module, for messages.

    Raises:
        NetlistError: if the ports are not two operands and one product.
    """
    inputs = {port.name: port for port in ports if port.direction == "input"}
    outputs = [port for port in ports if port.direction == "output"]
    listed = ", ".join(f"{port.name} ({port.width} bit)" for port in inputs.values()) or "none"
    if operands is None:
        operands = next((pair for pair in _USUAL_NAMES if pair[0] in inputs and pair[1] in inputs), None)
    if operands is None:
        raise NetlistError(
            f"module '{module}' has no inputs A and B; its inputs are {listed}: say which are operand a and b "
            "(operands=, --operands X,Y)",
            line,
        )
    if operands[0] == operands[1] or any(name not in inputs for name in operands):
        raise NetlistError(
            f"expected two inputs of module '{module}' as operands, got {operands}; its inputs are {listed}", line
        )
    if len(inputs) > 2:
        raise NetlistError(f"expected a module with two inputs, but those of '{module}' are {listed}", line)
    if len(outputs) != 1:
        names = ", ".join(port.name for port in outputs) or "none"
        raise NetlistError(f"expected a module with one output, but those of '{module}' are {names}", line)
    a, b = (inputs[name] for name in operands)
    if signed is None:
        if a.signed != b.signed:
            raise NetlistError(f"only one operand of '{module}' is declared signed; say signed=True or False", line)
        signed = a.signed
    return a, b, outputs[0], signed
