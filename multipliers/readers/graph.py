"""Nets and gates while a netlist is being read: who drives what, and in which order gates must be evaluated."""

from __future__ import annotations

from bisect import bisect_right

from multipliers.gates import GATE_KINDS
from multipliers.netlist import ONE, ZERO, Gate, Netlist
from multipliers.readers.errors import NetlistError
from multipliers.readers.limits import MAX_WORK
from multipliers.readers.syntax import Signal


class NetGraph:
    """Collects nets, gates and one-way connections; ``netlist`` checks and freezes them.

    Attributes:
        line: line of the statement being read; remembered with everything it makes.
    """

    def __init__(self) -> None:
        self.line: int | None = None
        self._next = 2
        self._work = 0
        self._starts: list[int] = []
        self._labels: list[tuple[str, Signal]] = []
        self._inputs: set[int] = {ZERO, ONE}
        self._gates: list[Gate] = []
        self._gate_lines: list[int | None] = []
        self._source: dict[int, int] = {}
        self._source_lines: dict[int, int | None] = {}

    def spend(self, amount: int) -> None:
        """Count work done, so that a small file cannot describe an endless circuit."""
        self._work += amount
        if self._work > MAX_WORK:
            raise NetlistError(f"the flattened circuit is beyond {MAX_WORK} nets and gates", self.line)

    def declare(self, path: str, signal: Signal) -> list[int]:
        """New nets for a signal of the instance at ``path``, least significant bit first."""
        count, start = signal.width, self._next
        self.spend(count)
        self._starts.append(start)
        self._labels.append((path, signal))
        self._next += count
        return list(range(start, self._next))

    def drive_from_outside(self, nets: list[int]) -> None:
        """State that these nets are inputs of the whole circuit."""
        self._inputs.update(nets)

    def gate(self, kind: str, *inputs: int) -> tuple[int, ...]:
        """Add a gate; its output nets."""
        self.spend(1)
        count = len(GATE_KINDS[kind].outputs)
        outputs = tuple(range(self._next, self._next + count))
        self._next += count
        self._gates.append(Gate(kind, inputs, outputs))
        self._gate_lines.append(self.line)
        return outputs

    def connect(self, targets: list[int], sources: list[int]) -> None:
        """Let each target net carry the value of a source net.

        Raises:
            NetlistError: if something drives a target already.
        """
        for target, source in zip(targets, sources, strict=True):
            if target in self._source:
                first = self._source_lines[target]
                before = "" if first is None else f", first on line {first}"
                raise NetlistError(f"net '{self.name(target)}' is driven twice{before}", self.line)
            if target in self._inputs:
                raise NetlistError(f"net '{self.name(target)}' is an input and cannot be driven", self.line)
            self._source[target] = source
            self._source_lines[target] = self.line

    def name(self, net: int) -> str:
        """Name of a net in the file; nets between gates take the name of a net they drive."""
        if net in (ZERO, ONE):
            return f"1'b{net}"
        place = bisect_right(self._starts, net) - 1
        if place >= 0:
            path, signal = self._labels[place]
            if net < self._starts[place] + signal.width:
                return path + signal.bit_name(net - self._starts[place])
        return next((self.name(target) for target, source in self._source.items() if source == net), "unnamed net")

    def netlist(self, name: str, operands: tuple[list[int], list[int]], product: list[int], signed: bool) -> Netlist:
        """Freeze the circuit: connections resolved, all gates kept, in topological order.

        Raises:
            NetlistError: on a net that is used but not driven, or a combinational loop.
        """
        gates, outputs = self.ordered(product)
        renumbered = {ZERO: ZERO, ONE: ONE}
        for net in (*operands[0], *operands[1], *(net for gate in gates for net in gate.outputs)):
            renumbered[net] = len(renumbered)

        def renumber(nets: tuple[int, ...] | list[int]) -> tuple[int, ...]:
            return tuple([renumbered[net] for net in nets])

        final = tuple(Gate(gate.kind, renumber(gate.inputs), renumber(gate.outputs)) for gate in gates)
        return Netlist(name, renumber(operands[0]), renumber(operands[1]), renumber(outputs), final, signed)

    def ordered(self, outputs: list[int]) -> tuple[list[Gate], list[int]]:
        """All gates after the gates that drive them, and the nets that really carry the ``outputs``."""
        driver = {net: index for index, gate in enumerate(self._gates) for net in gate.outputs}
        resolved = []
        for gate, line in zip(self._gates, self._gate_lines, strict=True):
            nets = tuple([self._carrier(net, driver, line) for net in gate.inputs])
            resolved.append(Gate(gate.kind, nets, gate.outputs))
        order = self._topological([[driver[n] for n in gate.inputs if n in driver] for gate in resolved])
        return [resolved[index] for index in order], [self._carrier(net, driver, self.line) for net in outputs]

    def _carrier(self, net: int, driver: dict[int, int], line: int | None) -> int:
        """The constant, input or gate output behind a net; shortens the way there for the next caller."""
        passed = []
        start = net
        while net in self._source:
            passed.append(net)
            net = self._source[net]
            if len(passed) > len(self._source):
                loop = [net]
                while self._source[loop[-1]] != net:
                    loop.append(self._source[loop[-1]])
                raise self._loop(loop, self._source_lines[net])
        for step in passed:
            self._source[step] = net
        if net not in driver and net not in self._inputs:
            line = self._source_lines[passed[-1]] if passed else line
            raise NetlistError(f"net '{self.name(start)}' is used, but nothing drives '{self.name(net)}'", line)
        return net

    def _topological(self, drivers: list[list[int]]) -> list[int]:
        """Depth-first order of gates by the gates that drive them; keeps the order of the file where it is one."""
        order: list[int] = []
        state = bytearray(len(drivers))  # 0 new, 1 on the way down, 2 done
        for start in range(len(drivers)):
            stack = [start]
            while stack:
                gate = stack[-1]
                if state[gate] == 0:
                    state[gate] = 1
                    for before in reversed(drivers[gate]):
                        if state[before] == 1:
                            way = [index for index in stack if state[index] == 1]
                            nets = [self._gates[index].outputs[0] for index in way[way.index(before) :]]
                            raise self._loop(nets, self._gate_lines[gate])
                        if state[before] == 0:
                            stack.append(before)
                else:
                    stack.pop()
                    if state[gate] == 1:
                        state[gate] = 2
                        order.append(gate)
        return order

    def _loop(self, nets: list[int], line: int | None) -> NetlistError:
        names = [self.name(net) for net in nets[:10]]
        more = ", ..." if len(nets) > 10 else ""
        return NetlistError(f"combinational loop through {', '.join(names)}{more}", line)
