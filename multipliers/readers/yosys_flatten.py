"""Flattens a hierarchy of Yosys modules into one graph of gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from multipliers.netlist import ONE, ZERO
from multipliers.readers.cell_names import library_cell
from multipliers.readers.errors import NetlistError
from multipliers.readers.graph import NetGraph
from multipliers.readers.limits import MAX_HIERARCHY
from multipliers.readers.logic import Logic
from multipliers.readers.syntax import Signal
from multipliers.readers.yosys_cells import WORD_FUNCTIONS, WordCell
from multipliers.readers.yosys_design import Bit, YosysCell, YosysModule


@dataclass(frozen=True)
class Scope:
    """One module in one place of the hierarchy; its nets are made as they are met."""

    module: YosysModule
    path: str
    depth: int
    graph: NetGraph
    nets: dict[int, int] = field(default_factory=dict)

    def word(self, bits: Sequence[Bit], what: str) -> list[int]:
        """Nets of bits that are read."""
        return [self._net(bit, what) for bit in bits]

    def target(self, bits: Sequence[Bit], what: str) -> list[int]:
        """Nets of bits that are driven."""
        if not all(isinstance(bit, int) for bit in bits):
            raise NetlistError(f"{self.path}{what}: an output drives a constant")
        return self.word(bits, what)

    def _net(self, bit: Bit, what: str) -> int:
        if isinstance(bit, str):
            if bit not in ("0", "1"):
                raise NetlistError(f"{self.path}{what}: unknown value '{bit}'; a circuit needs 0 or 1 there")
            return ONE if bit == "1" else ZERO
        if bit not in self.nets:
            name = self.module.names.get(bit, f"net {bit}")
            self.nets[bit] = self.graph.declare(self.path, Signal(name, None, None, None, False, None))[0]
        return self.nets[bit]


class Flattener:
    """Puts modules of a design into a graph."""

    def __init__(self, design: Mapping[str, YosysModule], graph: NetGraph) -> None:
        self._design = design
        self._graph = graph
        self._logic = Logic(graph)
        self._waiting: list[Scope] = []

    def flatten(self, top: YosysModule) -> Scope:
        """Add a module and all it instantiates; the scope of the module itself."""
        scope = self._enter(top, "", 0)
        for name, (signal, bits) in top.ports.items():
            if signal.direction == "input":
                self._graph.drive_from_outside(scope.target(bits, f"port '{name}'"))
        while self._waiting:
            current = self._waiting.pop()
            for cell in current.module.cells:
                self._cell(current, cell)
        return scope

    def _enter(self, module: YosysModule, path: str, depth: int) -> Scope:
        if depth > MAX_HIERARCHY:
            raise NetlistError(f"hierarchy deeper than {MAX_HIERARCHY} at '{path[:80]}'; a module within itself?")
        self._graph.spend(1)
        scope = Scope(module, path, depth, self._graph)
        self._waiting.append(scope)
        return scope

    def _cell(self, scope: Scope, cell: YosysCell) -> None:
        module = self._design.get(cell.kind)
        if module is not None and not module.is_box:
            self._submodule(scope, cell, module)
        elif cell.kind in WORD_FUNCTIONS:
            self._word_cell(scope, cell)
        else:
            self._library_cell(scope, cell)

    def _library_cell(self, scope: Scope, cell: YosysCell) -> None:
        known = library_cell(cell.kind)
        if known is None:
            hint = "; synthesise it to gates first" if cell.kind in ("$mul", "$macc", "$alu") else ""
            raise NetlistError(f"{scope.path}{cell.title} is neither in the file nor a known combinational cell{hint}")
        inputs = [self._input(scope, cell, pin, 1)[0] for pin in known.inputs]
        _check_pins(cell, (*known.inputs, *known.outputs))
        for pin, net in zip(known.outputs, known.emit(self._logic, inputs), strict=True):
            self._output(scope, cell, pin, [net])

    def _word_cell(self, scope: Scope, cell: YosysCell) -> None:
        function = WORD_FUNCTIONS[cell.kind]
        _check_pins(cell, (*function.inputs, *function.outputs))
        inputs = {pin: self._input(scope, cell, pin, None) for pin in function.inputs}
        width = len(cell.connections.get("Y", ()))
        self._graph.spend(width)
        words = function.emit(self._logic, WordCell(cell.title, inputs, width, cell.is_signed(), cell.table()))
        for pin, word in zip(function.outputs, words, strict=True):
            self._output(scope, cell, pin, word)

    def _submodule(self, scope: Scope, cell: YosysCell, module: YosysModule) -> None:
        child = self._enter(module, f"{scope.path}{cell.name}.", scope.depth + 1)
        _check_pins(cell, tuple(module.ports))
        for pin, (signal, bits) in module.ports.items():
            if signal.direction == "input":
                sources = self._input(scope, cell, pin, len(bits))
                self._graph.connect(child.target(bits, f"port '{pin}'"), sources)
            else:
                self._output(scope, cell, pin, child.word(bits, f"port '{pin}'"))

    def _input(self, scope: Scope, cell: YosysCell, pin: str, width: int | None) -> list[int]:
        bits = cell.connections.get(pin, [])
        if not bits:
            raise NetlistError(f"input pin '{pin}' of {scope.path}{cell.title} is not connected")
        if width is not None and len(bits) != width:
            raise _mismatch(cell, pin, width, len(bits))
        return scope.word(bits, f"pin '{pin}' of {cell.title}")

    def _output(self, scope: Scope, cell: YosysCell, pin: str, sources: list[int]) -> None:
        bits = cell.connections.get(pin, [])
        if not bits:
            return
        if len(bits) != len(sources):
            raise _mismatch(cell, pin, len(sources), len(bits))
        self._graph.connect(scope.target(bits, f"pin '{pin}' of {cell.title}"), sources)


def _check_pins(cell: YosysCell, pins: tuple[str, ...]) -> None:
    for pin in cell.connections:
        if pin not in pins:
            raise NetlistError(f"{cell.title} has no pin '{pin}'; its pins are {', '.join(pins)}")


def _mismatch(cell: YosysCell, pin: str, expected: int, got: int) -> NetlistError:
    return NetlistError(f"width mismatch: pin '{pin}' of {cell.title} has {expected} bits, connected to {got}")
