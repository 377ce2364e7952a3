"""Flattens a hierarchy of Verilog modules into one graph of gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from multipliers.gates import GATE_KINDS
from multipliers.readers.cell_names import LibraryCell, library_cell, of_kind
from multipliers.readers.connections import by_name, declare_implicit, mismatch, title, unknown_pin
from multipliers.readers.errors import NetlistError
from multipliers.readers.expressions import Expressions
from multipliers.readers.graph import NetGraph
from multipliers.readers.instance_parser import PRIMITIVES
from multipliers.readers.limits import MAX_HIERARCHY
from multipliers.readers.logic import Logic
from multipliers.readers.recognise import gate_kind
from multipliers.readers.syntax import Expression, Instance, Module, Number

Nets = dict[str, list[int]]


@dataclass(frozen=True)
class _Scope:
    """One module in one place of the hierarchy."""

    module: Module
    path: str
    depth: int
    nets: Nets


class Elaborator:
    """Puts modules of a file into a graph."""

    def __init__(self, modules: Mapping[str, Module], graph: NetGraph) -> None:
        self._modules = modules
        self._graph = graph
        self._logic = Logic(graph)
        self._expressions: dict[str, Expressions] = {}
        self._kinds: dict[str, str | None] = {}
        self._waiting: list[_Scope] = []

    def flatten(self, top: Module) -> Nets:
        """Add a module and all it instantiates; the nets of its own signals."""
        scope = self._enter(top, "", 0)
        for name in top.ports:
            if top.signals[name].direction == "input":
                self._graph.drive_from_outside(scope.nets[name])
        while self._waiting:
            current = self._waiting.pop()
            for assign in current.module.assigns:
                self._graph.line = assign.line
                self._assign(current, assign.target, assign.value)
            for instance in current.module.instances:
                self._graph.line = instance.line
                self._instance(current, instance)
        self._graph.line = top.line
        return scope.nets

    def _enter(self, module: Module, path: str, depth: int) -> _Scope:
        if depth > MAX_HIERARCHY:
            raise NetlistError(
                f"hierarchy deeper than {MAX_HIERARCHY} at '{path[:80]}'; does a module instantiate itself?",
                self._graph.line,
            )
        self._graph.spend(1)
        if module.name not in self._expressions:
            declare_implicit(module)
            self._expressions[module.name] = Expressions(module, self._logic)
        nets = {name: self._graph.declare(path, signal) for name, signal in module.signals.items()}
        scope = _Scope(module, path, depth, nets)
        self._waiting.append(scope)
        return scope

    def _assign(self, scope: _Scope, target: Expression, value: Expression) -> None:
        expressions = self._expressions[scope.module.name]
        nets = expressions.target(target, scope.nets)
        needed = expressions.needed(value)
        if needed > len(nets):
            raise NetlistError(
                f"width mismatch: {needed} bits are assigned to {len(nets)}; select the bits to keep", self._graph.line
            )
        self._graph.connect(nets, expressions.evaluate(value, len(nets), scope.nets))

    def _instance(self, scope: _Scope, instance: Instance) -> None:
        if instance.cell in PRIMITIVES:
            self._primitive(scope, instance)
            return
        module = self._modules.get(instance.cell)
        if module is None:
            cell = library_cell(instance.cell)
            if cell is None:
                raise NetlistError(
                    f"cell '{instance.cell}' is neither defined in the file nor a known library cell", instance.line
                )
            if instance.pins is None:
                raise NetlistError(
                    f"library cell '{instance.cell}' does not say the order of its pins; connect them by name",
                    instance.line,
                )
            self._cell(scope, instance, cell, instance.pins)
            return
        pins = by_name(instance, module)
        kind = self._kind(module)
        if kind is not None:
            gate = GATE_KINDS[kind]
            self._cell(scope, instance, of_kind(kind, gate.inputs, gate.outputs), pins)
        else:
            self._submodule(scope, instance, module, pins)

    def _kind(self, module: Module) -> str | None:
        """The gate kind a module of the file defines; only leaves of the hierarchy can be one."""
        if module.name not in self._kinds:
            leaf = all(instance.cell not in self._modules for instance in module.instances)
            self._kinds[module.name] = gate_kind(module, self._flatten_alone) if leaf else None
        return self._kinds[module.name]

    def _flatten_alone(self, module: Module, graph: NetGraph) -> Nets:
        return Elaborator(self._modules, graph).flatten(module)

    def _cell(
        self, scope: _Scope, instance: Instance, cell: LibraryCell, pins: Mapping[str, Expression | None]
    ) -> None:
        for pin in pins:
            if pin not in cell.inputs and pin not in cell.outputs:
                raise unknown_pin(instance, pin, (*cell.inputs, *cell.outputs))
        inputs = [self._input(scope, instance, pin, 1, pins.get(pin))[0] for pin in cell.inputs]
        results = cell.emit(self._logic, inputs)
        for pin, net in zip(cell.outputs, results, strict=True):
            self._output(scope, instance, pin, [net], pins.get(pin))

    def _submodule(
        self, scope: _Scope, instance: Instance, module: Module, pins: Mapping[str, Expression | None]
    ) -> None:
        child = self._enter(module, f"{scope.path}{instance.name}.", scope.depth + 1)
        for name in module.ports:
            port, inner = module.signals[name], child.nets[name]
            if port.direction == "input":
                self._graph.connect(inner, self._input(scope, instance, name, port.width, pins.get(name)))
            else:
                self._output(scope, instance, name, inner, pins.get(name))

    def _primitive(self, scope: _Scope, instance: Instance) -> None:
        """``and (y, a, b, c)``: the output first; ``not`` and ``buf`` may have several outputs and one input."""
        arguments = instance.arguments
        if arguments is None or len(arguments) < 2:
            raise NetlistError(f"'{instance.cell}' takes an output and inputs, by position", instance.line)
        outputs = 1 if instance.cell not in ("not", "buf") else len(arguments) - 1
        bits = [
            self._input(scope, instance, f"{position}", 1, expression)[0]
            for position, expression in enumerate(arguments[outputs:], start=outputs + 1)
        ]
        function, inverting = PRIMITIVES[instance.cell]
        for position, expression in enumerate(arguments[:outputs], start=1):
            if function == "":
                result = self._graph.gate("INV" if inverting else "BUF", bits[0])[0]
            else:
                result = (self._logic.inverted if inverting else self._logic.all)(function, bits)
            self._output(scope, instance, f"{position}", [result], expression)

    def _input(
        self, scope: _Scope, instance: Instance, pin: str, width: int, expression: Expression | None
    ) -> list[int]:
        if expression is None:
            raise NetlistError(f"input pin '{pin}' of {title(instance)} is not connected", instance.line)
        expressions = self._expressions[scope.module.name]
        given = expressions.needed(expression)
        if given != width and not (isinstance(expression, Number) and expression.width is None and given < width):
            raise mismatch(instance, pin, width, given)
        return expressions.evaluate(expression, width, scope.nets)

    def _output(
        self, scope: _Scope, instance: Instance, pin: str, sources: list[int], expression: Expression | None
    ) -> None:
        if expression is None:
            return
        targets = self._expressions[scope.module.name].target(expression, scope.nets)
        if len(targets) != len(sources):
            raise mismatch(instance, pin, len(sources), len(targets))
        self._graph.connect(targets, sources)
