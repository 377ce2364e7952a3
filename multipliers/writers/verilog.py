"""Netlists as structural Verilog that any tool reads: instances, and a definition of every cell that is used."""

from __future__ import annotations

import re
from collections.abc import Iterator

from multipliers.gates import GATE_KINDS, GateKind
from multipliers.netlist import ONE, ZERO, Netlist
from multipliers.readers.expression_parser import KEYWORDS


def write_verilog(netlist: Netlist) -> str:
    """One module ``(A, B, O)`` and the cells it instantiates, named as in EvoApproxLib, e.g. ``FAX1``.

    ``multipliers.readers.parse_verilog`` reads the same netlist back, gate for gate.

    Blanks in the name become underscores.

    Raises:
        ValueError: if the circuit has no product bits, or bears the name of a cell in it.
    """
    kinds = [GATE_KINDS[kind] for kind in netlist.gate_counts()]
    if not netlist.outputs:
        raise ValueError(f"netlist '{netlist.name}': a circuit without product bits cannot be written")
    if netlist.name in {f"{kind.name}X1" for kind in kinds}:
        raise ValueError(f"netlist '{netlist.name}': a circuit cannot have the name of a cell in it; rename it")
    return "\n".join([*_circuit(netlist), *(line for kind in kinds for line in ("", *_cell(kind)))]) + "\n"


def _circuit(netlist: Netlist) -> Iterator[str]:
    sign = "signed " if netlist.signed else ""
    names = {ZERO: "1'b0", ONE: "1'b1"}
    names |= {net: f"A[{i}]" for i, net in enumerate(netlist.input_a)}
    names |= {net: f"B[{i}]" for i, net in enumerate(netlist.input_b)}
    wires = [net for gate in netlist.gates for net in gate.outputs]
    names |= {net: f"N[{i}]" for i, net in enumerate(wires)}
    yield f"module {_identifier(netlist.name)}(A, B, O);"
    yield f"  input {sign}[{netlist.width_a - 1}:0] A;"
    yield f"  input {sign}[{netlist.width_b - 1}:0] B;"
    yield f"  output {sign}[{len(netlist.outputs) - 1}:0] O;"
    if wires:
        yield f"  wire [{len(wires) - 1}:0] N;"
    for index, gate in enumerate(netlist.gates):
        kind = GATE_KINDS[gate.kind]
        pins = zip((*kind.inputs, *kind.outputs), (*gate.inputs, *gate.outputs), strict=True)
        yield f"  {kind.name}X1 g{index}({', '.join(f'.{pin}({names[net]})' for pin, net in pins)});"
    for position, net in enumerate(netlist.outputs):
        yield f"  assign O[{position}] = {names[net]};"
    yield "endmodule"


def _cell(kind: GateKind) -> Iterator[str]:
    """A definition of a cell as a sum of products, from its truth table."""
    ports = [*(f"input {pin}" for pin in kind.inputs), *(f"output {pin}" for pin in kind.outputs)]
    yield f"module {kind.name}X1({', '.join(ports)});"
    rows = range(1 << len(kind.inputs))
    values = [kind.function(*(row >> k & 1 for k in range(len(kind.inputs)))) for row in rows]
    for position, pin in enumerate(kind.outputs):
        terms = [
            " & ".join(name if row >> k & 1 else f"~{name}" for k, name in enumerate(kind.inputs))
            for row in rows
            if values[row][position] & 1
        ]
        yield f"  assign {pin} = {' | '.join(f'({term})' for term in terms)};"
    yield "endmodule"


def _identifier(name: str) -> str:
    """The name as Verilog takes it: escaped unless plain."""
    if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) and name not in KEYWORDS:
        return name
    return "\\" + re.sub(r"\s", "_", name) + " "
