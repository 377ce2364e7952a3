"""`Hardware`: what one arithmetic operation and one memory access cost on a device, read from TOML.

Every figure names its source and a relative uncertainty; both travel into the energy report. The bundled
files in `deploy/descriptions` show the format.
"""

import difflib
import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = 1
FOLDER = Path(__file__).with_name("descriptions")
LEVELS = ("register", "buffer", "global", "dram")
OPTIONAL_LEVELS = ("global",)


@dataclass(frozen=True)
class Source:
    """Where a figure comes from.

    Attributes:
        text: publication or derivation.
        uncertainty: relative standard deviation (1 sigma) of the figure; 0.3 = 30 %.
    """

    text: str
    uncertainty: float


@dataclass(frozen=True)
class Arithmetic:
    """Energy of exact integer arithmetic, pJ: coefficients of the formulas in `Hardware`."""

    multiply_per_bit_product_pj: float
    multiply_per_bit_pj: float
    add_per_bit_pj: float
    sign_logic_relative: float
    accumulator_bits: int


@dataclass(frozen=True)
class Dataflow:
    """Assumed reuse: what one memory access serves. Assumptions carry no uncertainty: vary them instead.

    Attributes:
        activation_reuse: output channels (of one group) served by one buffer read of an activation.
        weight_reuse: output positions served by one buffer read of a weight.
        weight_registers, activation_registers, accumulator_registers: register accesses per multiplication.
        weight_bytes: on-chip room for all weights of the network; when they fit, DRAM is never read for them.
        activation_bytes: on-chip room for one layer's input and output together.
    """

    activation_reuse: int
    weight_reuse: int
    weight_registers: float
    activation_registers: float
    accumulator_registers: float
    weight_bytes: int
    activation_bytes: int


@dataclass(frozen=True)
class Hardware:
    """An accelerator description. Build it with `Hardware.load` or `Hardware.parse`.

    Attributes:
        name, node, description: free text from the file.
        arithmetic: energy per operation.
        memory_pj_per_bit: level ("register", "buffer", "dram", perhaps "global") -> pJ per bit accessed.
        dataflow: assumed reuse and on-chip room.
        sources: "multiply", "add", "sign_logic" and every memory level -> where the figure comes from.
        content_hash: sha256 (hex) of the file's bytes.
    """

    name: str
    node: str
    description: str
    arithmetic: Arithmetic
    memory_pj_per_bit: Mapping[str, float]
    dataflow: Dataflow
    sources: Mapping[str, Source]
    content_hash: str

    def multiply_pj(self, bits_a: int, bits_b: int) -> float:
        """Energy of one exact integer multiplication, pJ.

        c2 a b + c1 (a + b) / 2; for a = b QKeras' polynomial through Horowitz' 8 and 32 bit figures.
        """
        figures = self.arithmetic
        return (
            figures.multiply_per_bit_product_pj * bits_a * bits_b + figures.multiply_per_bit_pj * (bits_a + bits_b) / 2
        )

    def add_pj(self, bits: int) -> float:
        """Energy of one integer addition, pJ."""
        return self.arithmetic.add_per_bit_pj * bits

    def sign_logic_pj(self) -> float:
        """Energy of putting the sign back on one product of magnitudes, pJ."""
        return self.arithmetic.sign_logic_relative * self.multiply_pj(8, 8)

    @classmethod
    def load(cls, name_or_path: str | Path) -> "Hardware":
        """Read a bundled description by name (see `hardware_names`) or a TOML file by path.

        Raises:
            FileNotFoundError: neither a bundled name nor an existing file.
            ValueError: not TOML, or not a valid description; lists every problem.
        """
        path = FOLDER / f"{name_or_path}.toml" if str(name_or_path) in hardware_names() else Path(name_or_path)
        if not path.is_file():
            raise FileNotFoundError(
                f"hardware {str(name_or_path)!r} is neither an existing file nor one of {hardware_names()}"
            )
        return cls.parse(path.read_bytes(), path.name)

    @classmethod
    def parse(cls, data: bytes, source: str = "hardware description") -> "Hardware":
        """Build from the bytes of a TOML file.

        Args:
            data: UTF-8 TOML.
            source: what error messages call it.

        Raises:
            ValueError: not TOML, or not a valid description; lists every problem.
        """
        try:
            document = tomllib.loads(data.decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{source}: not TOML: {error}") from error
        root = _Table(document, "", [])
        hardware = _read(root, hashlib.sha256(data).hexdigest())
        if root.problems:
            listed = "\n".join(f"  - {problem}" for problem in root.problems)
            raise ValueError(
                f"{source}: {len(root.problems)} problem(s) in this hardware description:\n{listed}\n"
                f"compare with the bundled {FOLDER.name}/generic_45nm.toml"
            )
        return hardware


def hardware_names() -> tuple[str, ...]:
    """Names of the bundled descriptions."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


class _Table:
    """A TOML table being read: takes keys, collects problems instead of stopping at the first."""

    def __init__(self, values: Mapping[str, Any], path: str, problems: list[str]) -> None:
        self.values, self.path, self.problems = values, path, problems
        self.taken: list[str] = []

    def _take(self, key: str) -> Any:
        self.taken.append(key)
        if key not in self.values:
            self.problems.append(f"{self.path}{key}: missing")
        return self.values.get(key)

    def text(self, key: str) -> str:
        value = self._take(key)
        if key in self.values and (not isinstance(value, str) or not value.strip()):
            self.problems.append(f"{self.path}{key}: expected a non-empty text, got {value!r}")
        return value if isinstance(value, str) else ""

    def number(self, key: str, *, positive: bool = False) -> float:
        value = self._take(key)
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if key in self.values and not (number and (value > 0 if positive else value >= 0)):
            bound = "> 0" if positive else ">= 0"
            self.problems.append(f"{self.path}{key}: expected a finite number {bound}, got {value!r}")
        return float(value) if number else 1.0

    def integer(self, key: str, *, minimum: int) -> int:
        value = self._take(key)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if key in self.values and not (whole and value >= minimum):
            self.problems.append(f"{self.path}{key}: expected a whole number >= {minimum}, got {value!r}")
        return value if whole else minimum

    def table(self, key: str) -> "_Table":
        value = self._take(key)
        if key in self.values and not isinstance(value, dict):
            self.problems.append(f"{self.path}{key}: expected a table [{self.path}{key}], got {value!r}")
        missing = not isinstance(value, dict)
        problems: list[str] = [] if missing else self.problems
        return _Table({} if missing else value, f"{self.path}{key}.", problems)

    def source(self) -> Source:
        return Source(self.text("source"), self.number("uncertainty"))

    def finish(self) -> None:
        """Report keys nobody took."""
        for key in self.values:
            if key not in self.taken:
                close = difflib.get_close_matches(key, self.taken, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(self.taken)}"
                self.problems.append(f"{self.path}{key}: unknown key; {hint}")


def _read(root: _Table, content_hash: str) -> Hardware:
    schema = root.integer("schema", minimum=1)
    if "schema" in root.values and schema != SCHEMA:
        root.problems.append(f"schema: this version reads {SCHEMA}, got {schema!r}")
    name, node, description = (root.text(key) for key in ("name", "node", "description"))
    sources: dict[str, Source] = {}
    arithmetic = _read_arithmetic(root, sources)
    memory = _read_memory(root.table("memory"), sources)
    dataflow, texts = _read_dataflow(root)
    sources.update(texts)
    root.finish()
    return Hardware(name, node, description, arithmetic, memory, dataflow, sources, content_hash)


def _read_arithmetic(root: _Table, sources: dict[str, Source]) -> Arithmetic:
    multiply, add, sign = (root.table(key) for key in ("multiply", "add", "sign_logic"))
    arithmetic = Arithmetic(
        multiply_per_bit_product_pj=multiply.number("per_bit_product_pj", positive=True),
        multiply_per_bit_pj=multiply.number("per_bit_pj"),
        add_per_bit_pj=add.number("per_bit_pj"),
        sign_logic_relative=sign.number("relative_to_multiply"),
        accumulator_bits=root.integer("accumulator_bits", minimum=1),
    )
    for key, table in (("multiply", multiply), ("add", add), ("sign_logic", sign)):
        sources[key] = table.source()
        table.finish()
    return arithmetic


def _read_memory(memory: _Table, sources: dict[str, Source]) -> dict[str, float]:
    energies: dict[str, float] = {}
    for level in LEVELS:
        if level in OPTIONAL_LEVELS and level not in memory.values:
            memory.taken.append(level)
            continue
        table = memory.table(level)
        energies[level] = table.number("access_pj") / max(table.integer("access_bits", minimum=1), 1)
        sources[level] = table.source()
        table.finish()
    memory.finish()
    return energies


def _read_dataflow(root: _Table) -> tuple[Dataflow, dict[str, Source]]:
    flow, room = root.table("dataflow"), root.table("on_chip")
    dataflow = Dataflow(
        activation_reuse=flow.integer("activation_reuse", minimum=1),
        weight_reuse=flow.integer("weight_reuse", minimum=1),
        weight_registers=flow.number("weight_registers"),
        activation_registers=flow.number("activation_registers"),
        accumulator_registers=flow.number("accumulator_registers"),
        weight_bytes=room.integer("weight_bytes", minimum=0),
        activation_bytes=room.integer("activation_bytes", minimum=0),
    )
    texts = {"dataflow": Source(flow.text("source"), 0.0), "on_chip": Source(room.text("source"), 0.0)}
    flow.finish()
    room.finish()
    return dataflow, texts
