"""Writes netlists pleasantly: folds constants, shares equal gates, drops dead logic.

A generator states its circuit once, for general operands; the builder removes what a synthesis tool would
remove (constant inputs, repeated gates, half-used adders, unused logic), so that the cost of circuits
compares fairly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from multipliers.gates import GATE_KINDS
from multipliers.netlist import ONE, ZERO, Gate, Netlist
from multipliers.synthesis.mapping import map_gates

Net = int

_TWO_VARIABLE_KINDS = {
    0b1000: "AND2",
    0b1110: "OR2",
    0b0111: "NAND2",
    0b0001: "NOR2",
    0b0110: "XOR2",
    0b1001: "XNOR2",
}


class NetlistBuilder:
    """Collects gates of a two-operand circuit; ``finish`` freezes them into a ``Netlist``.

    Attributes:
        a: nets of operand a, least significant bit first.
        b: nets of operand b, least significant bit first.
    """

    def __init__(self, name: str, width_a: int, width_b: int, *, signed: bool = False) -> None:
        """Start an empty circuit.

        Raises:
            ValueError: if a width is below 1.
        """
        if width_a < 1 or width_b < 1:
            raise ValueError(f"netlist '{name}': widths must be >= 1, got {width_a} x {width_b}")
        self.name = name
        self.signed = signed
        self.a: tuple[Net, ...] = tuple(range(2, 2 + width_a))
        self.b: tuple[Net, ...] = tuple(range(2 + width_a, 2 + width_a + width_b))
        self._next = 2 + width_a + width_b
        self._gates: list[Gate] = []
        self._known: dict[tuple[str, tuple[Net, ...]], tuple[Net, ...]] = {}
        self._complement: dict[Net, Net] = {ZERO: ONE, ONE: ZERO}

    def inv(self, x: Net) -> Net:
        """NOT x."""
        if x not in self._complement:
            (inverse,) = self._emit("INV", (x,))
            self._complement[x], self._complement[inverse] = inverse, x
        return self._complement[x]

    def and2(self, x: Net, y: Net) -> Net:
        """x AND y."""
        return self.gate("AND2", x, y)[0]

    def or2(self, x: Net, y: Net) -> Net:
        """x OR y."""
        return self.gate("OR2", x, y)[0]

    def nand2(self, x: Net, y: Net) -> Net:
        """NOT (x AND y)."""
        return self.gate("NAND2", x, y)[0]

    def xor2(self, x: Net, y: Net) -> Net:
        """x XOR y."""
        return self.gate("XOR2", x, y)[0]

    def xnor2(self, x: Net, y: Net) -> Net:
        """NOT (x XOR y)."""
        return self.gate("XNOR2", x, y)[0]

    def mux2(self, if_zero: Net, if_one: Net, select: Net) -> Net:
        """``if_one`` when select is 1, else ``if_zero``."""
        return self.gate("MUX2", if_zero, if_one, select)[0]

    def half_add(self, x: Net, y: Net) -> tuple[Net, Net]:
        """(sum, carry) of two bits."""
        total, carry = self.gate("HA", x, y)
        return total, carry

    def full_add(self, x: Net, y: Net, z: Net) -> tuple[Net, Net]:
        """(sum, carry) of three bits."""
        total, carry = self.gate("FA", x, y, z)
        return total, carry

    def any_of(self, nets: Iterable[Net]) -> Net:
        """OR of any number of nets (a balanced tree); 0 of none."""
        level = list(nets) or [ZERO]
        while len(level) > 1:
            paired = [self.or2(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
            level = paired + level[len(paired) * 2 :]
        return level[0]

    def gate(self, kind: str, *inputs: Net) -> tuple[Net, ...]:
        """Output nets of a gate of any kind, simplified where inputs are constant, equal or complementary.

        Raises:
            ValueError: on an unknown kind or a wrong number of inputs.
        """
        if kind not in GATE_KINDS:
            raise ValueError(f"netlist '{self.name}': unknown gate kind '{kind}'; known: {', '.join(GATE_KINDS)}")
        if len(inputs) != len(GATE_KINDS[kind].inputs):
            raise ValueError(
                f"netlist '{self.name}': {kind} has {len(GATE_KINDS[kind].inputs)} inputs, got {len(inputs)}"
            )
        if kind == "BUF":
            return inputs
        if kind == "INV":
            return (self.inv(inputs[0]),)
        variables = self._variables(inputs)
        if len(variables) == len(inputs):
            return self._emit(kind, inputs)
        tables = self._truth_tables(kind, inputs, variables)
        if tables == (0b0110, 0b1000) and len(variables) == 2:
            return self._emit("HA", tuple(variables))
        return tuple(self._from_table(table, variables) for table in tables)

    def finish(self, outputs: Sequence[Net]) -> Netlist:
        """Freeze the circuit: dead logic removed, half-used adders lowered, inversions absorbed.

        Args:
            outputs: nets of the product, least significant bit first.
        """

        def fresh() -> NetlistBuilder:
            return NetlistBuilder(self.name, len(self.a), len(self.b), signed=self.signed)

        gates, nets = map_gates(self._gates, self.a + self.b, outputs, fresh)
        return Netlist(self.name, self.a, self.b, nets, gates, self.signed)

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Gates emitted so far, in topological order, dead ones included."""
        return tuple(self._gates)

    def _emit(self, kind: str, inputs: tuple[Net, ...]) -> tuple[Net, ...]:
        key = (kind, tuple(sorted(inputs)) if GATE_KINDS[kind].symmetric else inputs)
        if key not in self._known:
            count = len(GATE_KINDS[kind].outputs)
            outputs = tuple(range(self._next, self._next + count))
            self._next += count
            self._gates.append(Gate(kind, key[1], outputs))
            self._known[key] = outputs
        return self._known[key]

    def _variables(self, inputs: Sequence[Net]) -> list[Net]:
        """Distinct non-constant inputs, complements counted once."""
        variables: list[Net] = []
        for net in inputs:
            if net not in (ZERO, ONE) and net not in variables and self._complement.get(net) not in variables:
                variables.append(net)
        return variables

    def _truth_tables(self, kind: str, inputs: Sequence[Net], variables: Sequence[Net]) -> tuple[int, ...]:
        """Outputs as truth tables over ``variables`` (bit i: assignment i, first variable lowest)."""
        rows = 1 << len(variables)
        mask = (1 << rows) - 1
        columns = {ZERO: 0, ONE: mask}
        for position, net in enumerate(variables):
            column = sum(1 << row for row in range(rows) if row >> position & 1)
            columns[net] = column
            if net in self._complement:
                columns[self._complement[net]] = ~column & mask
        results = GATE_KINDS[kind].function(*(columns[net] for net in inputs))
        return tuple(result & mask for result in results)

    def _from_table(self, table: int, variables: Sequence[Net]) -> Net:
        """A net computing a truth table over at most two variables."""
        if not variables:
            return ONE if table else ZERO
        if len(variables) == 1:
            x = variables[0]
            return (ZERO, self.inv(x), x, ONE)[table]
        x, y = variables
        if table in (0b0000, 0b1111):
            return ONE if table else ZERO
        if table in (0b1010, 0b0101):
            return x if table == 0b1010 else self.inv(x)
        if table in (0b1100, 0b0011):
            return y if table == 0b1100 else self.inv(y)
        if table in _TWO_VARIABLE_KINDS:
            return self._emit(_TWO_VARIABLE_KINDS[table], (x, y))[0]
        if table == 0b0010:
            return self._emit("AND2", (x, self.inv(y)))[0]
        if table == 0b0100:
            return self._emit("AND2", (self.inv(x), y))[0]
        if table == 0b1101:
            return self._emit("OR2", (self.inv(x), y))[0]
        return self._emit("OR2", (x, self.inv(y)))[0]
