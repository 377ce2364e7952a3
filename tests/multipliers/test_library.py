"""Library: order, filter, Pareto front, files; the generated library."""

import dataclasses
import functools
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multipliers import Library, Multiplier, Provenance, PublishedFigures, default_library, generate
from multipliers.default_library import SHIPPED
from multipliers.families.registry import FAMILIES, exact_families, parse_circuit
from multipliers.netlist_arrays import KIND_NAMES
from multipliers.shipped_library import make_shipped_library
from multipliers.testing import LibraryConformance

PROVENANCE = Provenance(source="a test", node="none", method="invented", uncertainty=0.1)


def circuit(name: str, wrong: int, energy: float, width: int = 2, **changes: object) -> Multiplier:
    table = np.multiply.outer(np.arange(1 << width), np.arange(1 << width))
    table[-1, -1] -= wrong
    fields: dict = {"energy_pj": energy, "energy_relative": energy, "area_um2": None, "delay_ns": None}
    return Multiplier(
        name=name, function=table, signed=False, width_a=width, width_b=width, provenance=PROVENANCE,
        **{**fields, **changes},
    )  # fmt: skip


@functools.cache
def several_widths() -> Library:
    names = ("mul8u_drum4", "mul8x2u_trunc3", "mul4s_trunc2", "mul12u_drum5", "mul16s_trunc9", "mul16u_mitchell")
    exact = ((8, 8, "u"), (8, 2, "u"), (4, 4, "s"), (12, 12, "u"), (16, 16, "s"), (16, 16, "u"))
    references = (exact_families(a, b, sign == "s") for a, b, sign in exact)
    circuits = [generate(family, a, b) for (a, b, _), found in zip(exact, references, strict=True) for family in found]
    return Library([*(generate(name) for name in names), *circuits])


class TestDefaultLibrary(LibraryConformance):
    @pytest.fixture
    def library(self) -> Library:
        return default_library()


class TestGeneratedOfSeveralWidths(LibraryConformance):
    @pytest.fixture
    def library(self) -> Library:
        return several_widths()


class TestWithoutGates(LibraryConformance):
    @pytest.fixture
    def library(self) -> Library:
        return Library([circuit("exact", 0, 1.0), circuit("good", 1, 0.8, area_um2=5.0), circuit("bad", 4, 0.2)])


def test_default_library_is_complete_cached_and_spread() -> None:
    library = default_library()
    assert default_library() is library
    assert library["mul8u_exact"].energy_relative == library["mul8s_exact"].energy_relative == 1.0
    assert {"mul8u_trunc6", "mul8u_bam_h2v6", "mul8u_mitchell", "mul8u_array", "mul8s_booth"} <= set(library)
    assert all(m.width_a == m.width_b == 8 and m.area_um2 and m.delay_ns and m.netlist for m in library.values())
    front = library.filter(signed=False).pareto()
    energies = np.array([m.energy_relative for m in front.values()])
    assert len(front) >= 18 and energies[0] < 0.15 and np.diff(energies).max() < 0.15


def test_default_library_holds_every_family_and_every_function_once() -> None:
    library = default_library()
    families = {parse_circuit(name)[0].family for name in library}
    assert families == set(FAMILIES)
    inexact = [m for m in library.values() if not m.is_exact]
    assert len({m.content_hash for m in inexact}) == len(inexact)


def test_default_library_is_what_its_command_makes(tmp_path) -> None:
    """Byte for byte: the sweep over all members of all families, costed and thinned again."""
    steps: list[tuple[int, int]] = []
    make_shipped_library(progress=lambda *step: steps.append(step)).save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == SHIPPED.read_bytes()
    assert steps[-1][0] == steps[-1][1] == len(steps) > 700
    assert SHIPPED.stat().st_size < 400_000


def test_mapping_keeps_order_and_names_what_is_missing() -> None:
    library = Library([circuit("b", 0, 1.0), circuit("a", 1, 0.5)])
    assert list(library) == ["b", "a"] and len(library) == 2 and "a" in library
    with pytest.raises(KeyError, match=r"no multiplier 'c' .* known: b, a"):
        library["c"]
    assert library.get("c") is None
    assert repr(library) == "Library(2 circuits: b, a)"
    with pytest.raises(TypeError):
        library["c"] = library["a"]  # type: ignore[index]


def test_duplicate_names_are_refused() -> None:
    with pytest.raises(ValueError, match="two circuits are named 'a'"):
        Library([circuit("a", 0, 1.0), circuit("a", 1, 0.5)])


def test_filter() -> None:
    library = Library([circuit("exact", 0, 1.0), circuit("good", 1, 0.8, area_um2=5.0), circuit("bad", 4, 0.2)])
    assert list(library.filter(max_wce=1)) == ["exact", "good"]
    assert list(library.filter(max_energy_relative=0.8, min_mae=0.1)) == ["bad"]
    assert list(library.filter(lambda m: m.name != "good", signed=False)) == ["exact", "bad"]
    assert list(library.filter(name="bad")) == ["bad"]
    assert list(library.filter(max_area_um2=100.0)) == ["good"]
    assert list(library.filter(width_a=8)) == []
    with pytest.raises(ValueError, match="'max_energy' names no field; use one of name"):
        library.filter(max_energy=1.0)


def test_pareto() -> None:
    library = Library(
        [
            circuit("exact", 0, 1.0),
            circuit("dear", 2, 1.5),
            circuit("good", 2, 0.5),
            circuit("twin", 2, 0.5),
            circuit("worse", 3, 0.5),
            circuit("cheap", 5, 0.1),
            circuit("wide", 1, 9.0, width=3),
        ]
    )
    assert list(library.pareto()) == ["cheap", "good", "exact", "wide"]
    assert list(library.pareto(error="bias", cost="energy_pj")) == ["cheap", "good", "exact", "wide"]
    with pytest.raises(ValueError, match="error must be one of mae"):
        library.pareto(error="psnr")
    with pytest.raises(ValueError, match="cost must be one of energy_pj"):
        library.pareto(cost="price")
    with pytest.raises(ValueError, match="'exact' has no area_um2"):
        library.pareto(cost="area_um2")
    assert len(Library().pareto()) == 0


def _rewrite(path: object, **changes: object) -> None:
    with np.load(path, allow_pickle=False) as data:
        arrays = {**{key: data[key] for key in data.files}, **changes}
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def test_damaged_files_are_refused(tmp_path) -> None:
    path = tmp_path / "library.npz"
    Library([circuit("a", 1, 1.0)]).save(path)
    table = Library.load(path)["a"].table.copy()
    table[0, 0] = 1
    _rewrite(path, table_0=table)
    with pytest.raises(ValueError, match="'a' does not match its recorded hash"):
        Library.load(path)
    header = np.frombuffer(json.dumps({"format": "other/9", "multipliers": []}).encode(), np.uint8)
    _rewrite(path, header=header)
    with pytest.raises(ValueError, match="expected format 'picojoule-multipliers/2', got 'other/9'"):
        Library.load(path)
    np.savez(path, something=table)
    with pytest.raises(ValueError, match="not a multiplier library"):
        Library.load(path)


def test_published_figures_and_gates_survive(tmp_path) -> None:
    published = PublishedFigures("somewhere", power_mw=0.39, delay_ns=1.4)
    one, two = generate("mul16u_drum6"), dataclasses.replace(generate("mul8s_sm_drum3"), published=published)
    Library([one, circuit("table", 1, 0.5), two]).save(tmp_path / "a.npz")
    back = Library.load(tmp_path / "a.npz")
    assert back["mul8s_sm_drum3"].published == published and back["table"].netlist is None
    assert back["mul16u_drum6"].content_hash == one.content_hash
    assert (tmp_path / "a.npz").stat().st_size < 30_000  # gates, not tables
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_changed_gate_is_noticed(tmp_path) -> None:
    Library([generate("mul4u_exact")]).save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as data:
        kinds = data["gate_kinds"].copy()
    kinds[kinds == KIND_NAMES.index("AND2")] = KIND_NAMES.index("OR2")
    _rewrite(tmp_path / "a.npz", gate_kinds=kinds)
    with pytest.raises(ValueError, match="'mul4u_exact' does not match its recorded hash"):
        Library.load(tmp_path / "a.npz")
    kinds[0] = 200
    _rewrite(tmp_path / "a.npz", gate_kinds=kinds)
    with pytest.raises(ValueError, match="unknown gate code 200"):
        Library.load(tmp_path / "a.npz")


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.npz"
    Library([circuit("a", 1, 1.0)]).save(path)
    before = path.read_bytes()
    monkeypatch.setattr(np.lib.format, "write_array", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        Library([circuit("b", 1, 1.0)]).save(path)
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


def test_empty_library_can_be_saved(tmp_path) -> None:
    Library().save(tmp_path / "empty.npz")
    assert len(Library.load(tmp_path / "empty.npz")) == 0


@settings(max_examples=150)
@given(st.data())
def test_damage_is_one_clear_error(data: st.DataObject) -> None:
    """A flipped byte, a cut file: `ValueError`, or the very same circuits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.npz")
        Library([generate("mul3u_trunc2"), circuit("table", 1, 0.5)]).save(path)
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans()):
            position = data.draw(st.integers(0, len(content) - 1))
            content[position] ^= 1 << data.draw(st.integers(0, 7))
        else:
            content = content[: data.draw(st.integers(0, len(content)))]
        path.write_bytes(bytes(content))
        try:
            loaded = Library.load(path)
        except ValueError as error:
            assert str(path) in str(error)
        else:
            assert loaded["mul3u_trunc2"].content_hash == generate("mul3u_trunc2").content_hash


def test_two_writers_do_not_disturb_each_other(tmp_path) -> None:
    path, library = tmp_path / "a.npz", Library([generate("mul4u_exact")])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: library.save(path), range(80)))
    assert list(Library.load(path)) == ["mul4u_exact"] and [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]
