"""Word-level cells of Yosys, as they are in a design that ``techmap`` has not yet lowered to single gates.

Semantics: the Yosys manual, chapter "Internal cell library". Operands are extended to the width of the result, by
their sign if all of them are signed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from multipliers.netlist import ONE, ZERO
from multipliers.readers.errors import NetlistError
from multipliers.readers.logic import Logic, resized

Word = list[int]


@dataclass(frozen=True)
class WordCell:
    """One cell in use.

    Attributes:
        title: type and name, for messages.
        inputs: nets of the input pins.
        width: bits of the main output.
        signed: whether all operands are signed.
        table: truth table of a ``$lut``, entry 0 first; empty for other cells.
    """

    title: str
    inputs: Mapping[str, Word]
    width: int
    signed: bool
    table: tuple[int, ...] = ()

    def operands(self, width: int | None = None) -> list[Word]:
        """A, or A and B, extended to ``width`` (that of the result when None)."""
        count = self.width if width is None else width
        return [resized(self.inputs[pin], count, self.signed) for pin in ("A", "B") if pin in self.inputs]

    def require(self, condition: bool, expected: str) -> None:
        """Refuse the cell unless ``condition`` holds."""
        if not condition:
            raise NetlistError(f"width mismatch at {self.title}: expected {expected}")


@dataclass(frozen=True)
class WordFunction:
    """Pins of a word-level cell, and ``emit``, which adds its gates and gives the words of the outputs."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    emit: Callable[[Logic, WordCell], tuple[Word, ...]]


def _bitwise(function: str, inverting: bool = False) -> WordFunction:
    def emit(logic: Logic, cell: WordCell) -> tuple[Word, ...]:
        bits = [logic.two(function, x, y) for x, y in zip(*cell.operands(), strict=True)]
        return ([logic.inv(bit) for bit in bits] if inverting else bits,)

    return WordFunction(("A", "B"), ("Y",), emit)


def _reduction(function: str, inverting: bool = False) -> WordFunction:
    def emit(logic: Logic, cell: WordCell) -> tuple[Word, ...]:
        bit = (logic.inverted if inverting else logic.all)(function, cell.inputs["A"])
        return (resized([bit], cell.width, False),)

    return WordFunction(("A",), ("Y",), emit)


def _logical(function: str) -> WordFunction:
    def emit(logic: Logic, cell: WordCell) -> tuple[Word, ...]:
        bit = logic.two(function, *(logic.all("OR", cell.inputs[pin]) for pin in "AB"))
        return (resized([bit], cell.width, False),)

    return WordFunction(("A", "B"), ("Y",), emit)


def _comparison(inverting: bool) -> WordFunction:
    def emit(logic: Logic, cell: WordCell) -> tuple[Word, ...]:
        equal = logic.equal(*cell.operands(max(len(cell.inputs["A"]), len(cell.inputs["B"]))))
        return (resized([logic.inv(equal) if inverting else equal], cell.width, False),)

    return WordFunction(("A", "B"), ("Y",), emit)


def _add(logic: Logic, cell: WordCell) -> tuple[Word, ...]:
    a, b = cell.operands()
    return (logic.add(a, b),)


def _subtract(logic: Logic, cell: WordCell) -> tuple[Word, ...]:
    a, b = cell.operands()
    return (logic.subtract(a, b),)


def _mux(logic: Logic, cell: WordCell) -> tuple[Word, ...]:
    a, b, select = (cell.inputs[pin] for pin in "ABS")
    cell.require(len(a) == len(b) == cell.width and len(select) == 1, "A, B and Y of equal width and one bit S")
    return ([logic.mux(zero, one, select[0]) for zero, one in zip(a, b, strict=True)],)


def _full_adders(logic: Logic, cell: WordCell) -> tuple[Word, ...]:
    words = [cell.inputs[pin] for pin in "ABC"]
    cell.require({len(word) for word in words} == {cell.width}, "A, B, C, X and Y of equal width")
    pairs = [logic.graph.gate("FA", *bits) for bits in zip(*words, strict=True)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _lookup(logic: Logic, cell: WordCell) -> tuple[Word, ...]:
    """A tree of multiplexers over the table."""
    select = cell.inputs["A"]
    cell.require(len(select) <= 8 and len(cell.table) == 1 << len(select), "a table of 2**(bits of A) entries, A <= 8")
    level = [ONE if entry else ZERO for entry in cell.table]
    for bit in select:
        level = [logic.mux(level[k], level[k + 1], bit) for k in range(0, len(level), 2)]
    return (level,)


WORD_FUNCTIONS: Mapping[str, WordFunction] = {
    "$and": _bitwise("AND"),
    "$or": _bitwise("OR"),
    "$xor": _bitwise("XOR"),
    "$xnor": _bitwise("XOR", inverting=True),
    "$not": WordFunction(("A",), ("Y",), lambda g, cell: ([g.inv(bit) for bit in cell.operands()[0]],)),
    "$pos": WordFunction(("A",), ("Y",), lambda g, cell: (cell.operands()[0],)),
    "$neg": WordFunction(("A",), ("Y",), lambda g, cell: (g.subtract([ZERO] * cell.width, cell.operands()[0]),)),
    "$add": WordFunction(("A", "B"), ("Y",), _add),
    "$sub": WordFunction(("A", "B"), ("Y",), _subtract),
    "$reduce_and": _reduction("AND"),
    "$reduce_or": _reduction("OR"),
    "$reduce_bool": _reduction("OR"),
    "$reduce_xor": _reduction("XOR"),
    "$reduce_xnor": _reduction("XOR", inverting=True),
    "$logic_not": _reduction("OR", inverting=True),
    "$logic_and": _logical("AND"),
    "$logic_or": _logical("OR"),
    "$eq": _comparison(inverting=False),
    "$ne": _comparison(inverting=True),
    "$mux": WordFunction(("A", "B", "S"), ("Y",), _mux),
    "$fa": WordFunction(("A", "B", "C"), ("Y", "X"), _full_adders),
    "$lut": WordFunction(("A",), ("Y",), _lookup),
}
