"""Replacing parts of a netlist by cheaper gates of the same function."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from multipliers.gates import GATE_KINDS
from multipliers.netlist import Gate, Netlist


class NetlistEditor:
    """A netlist under change: knows who reads what, and what becomes useless when a net is made otherwise."""

    def __init__(self, netlist: Netlist) -> None:
        self._netlist = netlist
        self._gates = list(netlist.gates)
        self._position = list(range(len(self._gates)))  # in the final order: that of the gate replaced
        self._driver = {net: index for index, gate in enumerate(self._gates) for net in gate.outputs}
        self._first = dict(self._driver)  # where a net was first driven: all it depends on comes before
        self._dead: set[int] = set()
        self._uses = dict.fromkeys(netlist.nets, 0)
        for net in [*netlist.outputs, *(net for gate in self._gates for net in gate.inputs)]:
            self._uses[net] += 1
        self._next = max(netlist.nets) + 1

    def fresh(self) -> int:
        """A new net."""
        self._next += 1
        return self._next - 1

    def has(self, *nets: int) -> bool:
        """Whether all these nets still exist."""
        return not any(self._driver.get(net) in self._dead for net in nets)

    def replace(self, nets: Sequence[int], gates: Sequence[Gate]) -> bool:
        """Let ``gates`` drive ``nets`` if they need fewer transistors than the gates that become useless.

        Args:
            nets: nets that keep their function.
            gates: their new drivers, in topological order; what they read must come before the old drivers of
                all ``nets``.

        Returns:
            whether it was done.
        """
        self._count_uses(gates, 1)
        useless = self._release(nets)
        removed = [self._gates[index] for index in useless]
        if transistors(gates) >= transistors(removed):
            self._count_uses(removed, 1)
            self._count_uses(gates, -1)
            return False
        position = min(self._first[net] for net in nets)
        self._dead.update(useless)
        for gate in gates:
            self._driver.update(dict.fromkeys(gate.outputs, len(self._gates)))
            for net in gate.outputs:
                self._first.setdefault(net, position)
            self._gates.append(gate)
            self._position.append(position)
        return True

    def netlist(self) -> Netlist:
        """The circuit as it is now."""
        order = sorted(range(len(self._gates)), key=lambda index: (self._position[index], index))
        gates = tuple(self._current(index) for index in order if index not in self._dead)
        return dataclasses.replace(self._netlist, gates=gates)

    def _current(self, index: int) -> Gate:
        """A gate; outputs that another gate drives by now become unread nets."""
        gate = self._gates[index]
        if all(self._driver[net] == index for net in gate.outputs):
            return gate
        outputs = tuple(net if self._driver[net] == index else self.fresh() for net in gate.outputs)
        return dataclasses.replace(gate, outputs=outputs)

    def _count_uses(self, readers: Iterable[Gate], change: int) -> None:
        for gate in readers:
            for net in gate.inputs:
                self._uses[net] = self._uses.get(net, 0) + change

    def _release(self, nets: Sequence[int]) -> list[int]:
        """Stop reading through the gates that nothing needs once ``nets`` are driven otherwise; those gates."""
        useless: list[int] = []
        pending = list(nets)
        while pending:
            index = self._driver.get(pending.pop())
            if index is None or index in useless:
                continue
            driven = [net for net in self._gates[index].outputs if self._driver[net] == index]
            if any(net not in nets and self._uses[net] for net in driven):
                continue
            useless.append(index)
            for net in self._gates[index].inputs:
                self._uses[net] -= 1
                if self._uses[net] == 0:
                    pending.append(net)
        return useless


def transistors(gates: Iterable[Gate]) -> int:
    """Transistors of gates together."""
    return sum(GATE_KINDS[gate.kind].transistors for gate in gates)
