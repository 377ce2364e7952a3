"""Small technology mapping: dead logic out, half-used adders lowered, inversions absorbed into cheaper cells.

CMOS cells invert by nature (a NAND2 needs four transistors, an AND2 six), so a circuit written with AND and OR would
be charged for inverters no synthesis tool would leave in. The same rules run on every circuit, exact ones included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from multipliers.netlist import ONE, ZERO, Gate

if TYPE_CHECKING:
    from multipliers.builder import NetlistBuilder

_PASSES = 2
_INVERTED = {"AND2": "NAND2", "OR2": "NOR2", "NAND2": "AND2", "NOR2": "OR2"}
_DE_MORGAN = {"AND2": "NOR2", "OR2": "NAND2", "NAND2": "OR2", "NOR2": "AND2"}
_COMPLEX = {
    ("NAND2", "AND2"): "NAND3",
    ("NAND2", "OR2"): "OAI21",
    ("NOR2", "OR2"): "NOR3",
    ("NOR2", "AND2"): "AOI21",
}
"""(inverting gate, gate that feeds one of its inputs) -> the cell that does both."""


def live_gates(gates: Sequence[Gate], outputs: Iterable[int]) -> list[Gate]:
    """Gates that some output depends on, in the same order."""
    needed = set(outputs)
    kept = []
    for gate in reversed(gates):
        if needed.intersection(gate.outputs):
            needed.update(gate.inputs)
            kept.append(gate)
    return kept[::-1]


def map_gates(
    gates: Sequence[Gate], operands: Sequence[int], outputs: Sequence[int], fresh: Callable[[], NetlistBuilder]
) -> tuple[tuple[Gate, ...], tuple[int, ...]]:
    """Rewrite a circuit with fewer, cheaper gates of the same function.

    Args:
        gates: in topological order.
        operands: nets of operand a, then b.
        outputs: nets of the product.
        fresh: makes an empty builder for operands of the same widths.

    Returns:
        the gates and output nets of the rewritten circuit; its operand nets are those of the builder.
    """
    nets = tuple(outputs)
    for _ in range(_PASSES):
        into = fresh()
        mapper = _Mapper(live_gates(gates, nets), nets, dict(zip(operands, into.a + into.b, strict=True)), into)
        nets = mapper.run(nets)
        gates, operands = into.gates, into.a + into.b
    return tuple(live_gates(gates, nets)), nets


class _Mapper:
    """One pass: replays the live gates into an empty builder, choosing a cell for each."""

    def __init__(
        self, gates: Sequence[Gate], outputs: Sequence[int], new: dict[int, int], into: NetlistBuilder
    ) -> None:
        self.into = into
        self._gates = gates
        self._driver = {net: gate for gate in gates for net in gate.outputs}
        self._uses: dict[int, int] = {}
        for net in [*outputs, *(net for gate in gates for net in gate.inputs)]:
            self._uses[net] = self._uses.get(net, 0) + 1
        self._new = {ZERO: ZERO, ONE: ONE, **new}

    def run(self, outputs: Sequence[int]) -> tuple[int, ...]:
        for gate in self._gates:
            self._new.update(zip(gate.outputs, self._replay(gate), strict=True))
        return tuple(self._net(net) for net in outputs)

    def _net(self, net: int) -> int:
        return self._new[net]

    def _nets(self, gate: Gate) -> list[int]:
        return [self._net(net) for net in gate.inputs]

    def _private(self, net: int, *kinds: str) -> Gate | None:
        """The driver of ``net`` if it is of one of ``kinds`` and feeds nothing else."""
        gate = self._driver.get(net)
        return gate if gate is not None and gate.kind in kinds and self._uses[net] == 1 else None

    def _replay(self, gate: Gate) -> tuple[int, ...]:
        if gate.kind in ("HA", "FA") and not all(net in self._uses for net in gate.outputs):
            return self._half_used_adder(gate)
        if gate.kind == "INV":
            return (self._inverted(gate.inputs[0]),)
        if gate.kind in _DE_MORGAN:
            drivers = [self._private(net, "INV", "AND2", "OR2") for net in gate.inputs]
            if drivers[0] is not None and drivers[1] is not None:
                return self.into.gate(
                    _DE_MORGAN[gate.kind], *(self._inverse_of(driver) for driver in drivers if driver)
                )
            merged = self._complex(gate)
            if merged is not None:
                return (merged,)
        return self.into.gate(gate.kind, *self._nets(gate))

    def _inverse_of(self, driver: Gate) -> int:
        """NOT the output of an INV, AND2 or OR2."""
        nets = self._nets(driver)
        return nets[0] if driver.kind == "INV" else self.into.gate(_INVERTED[driver.kind], *nets)[0]

    def _complex(self, gate: Gate) -> int | None:
        """A two-input gate and a private AND2 or OR2 before it, as one cell (inverted where the gate does not)."""
        inverting = gate.kind if gate.kind in ("NAND2", "NOR2") else _INVERTED[gate.kind]
        for product, other in (gate.inputs, gate.inputs[::-1]):
            inner = self._private(product, "AND2", "OR2")
            if inner is not None:
                (merged,) = self.into.gate(_COMPLEX[inverting, inner.kind], *self._nets(inner), self._net(other))
                return merged if inverting == gate.kind else self.into.inv(merged)
        return None

    def _inverted(self, net: int) -> int:
        """NOT ``net``, absorbed into a private driver where there is one."""
        driver = self._private(net, *_INVERTED)
        if driver is None:
            return self.into.inv(self._net(net))
        return self.into.gate(_INVERTED[driver.kind], *self._nets(driver))[0]

    def _half_used_adder(self, gate: Gate) -> tuple[int, int]:
        """An adder of which only the sum or only the carry is used, as simple gates."""
        into, nets = self.into, self._nets(gate)
        if gate.outputs[0] in self._uses:
            total = into.xor2(nets[0], nets[1])
            return (into.xor2(total, nets[2]) if gate.kind == "FA" else total), -1
        if gate.kind == "HA":
            return -1, into.and2(*nets)
        x, y, z = nets
        return -1, into.nand2(into.nand2(x, y), into.gate("OAI21", x, y, z)[0])
