"""Exact factorisation of product tables: planted ones are found, others refused, and nothing wrong is returned."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.kernels import analysis, factorisation
from approx.kernels.analysis import analyse
from approx.kernels.factorisation import Factorisation, factorise
from approx.kernels.lattice import coordinates, pivots, short_basis
from approx.operands import Operands, layer_table
from multipliers import default_library, load_evoapprox

CODES = torch.arange(256)
INT32 = torch.iinfo(torch.int32)


def _exactly(table: torch.Tensor, planes: int, max_planes: int = 5) -> Factorisation:
    """Factorises, and checks the entries without the method under test, the ranges, and the number of planes."""
    found = factorise(table, max_planes)
    assert found is not None and found.planes == planes
    for part, kind, shape in [
        (found.f, torch.int32, (len(table),)),
        (found.g, torch.int32, (256,)),
        (found.scale, torch.int32, (planes,)),
        (found.v, torch.int8, (planes, len(table))),
        (found.u, torch.uint8, (planes, 256)),
    ]:
        assert part.dtype == kind and part.shape == shape and part.is_contiguous()
    total = found.f.long()[:, None] + found.g.long()[None]
    for scale, v, u in zip(found.scale.long(), found.v.long(), found.u.long(), strict=True):
        total = total + scale * v[:, None] * u
    assert torch.equal(total, table.long()) and torch.equal(found.table(), table)
    return found


def _circuit_planes(table: np.ndarray) -> int | None:
    found = factorise(torch.from_numpy(table.copy()))
    assert found is None or np.array_equal(found.table().numpy(), table)
    return None if found is None else found.planes


@pytest.mark.parametrize(("lowest", "highest"), [(-127, 127), (0, 255), (-128, 127), (-1, 1), (3, 4)])
def test_the_exact_product_is_one_plane(lowest: int, highest: int) -> None:
    weights = torch.arange(lowest, highest + 1)
    found = _exactly((weights[:, None] * CODES).int(), 1)
    assert torch.equal(found.u[0].long(), CODES) and found.scale.tolist() == [1]
    if lowest < 0:  # signed weights: v is the weight itself, and nothing else is left
        assert torch.equal(found.v[0].long(), weights) and not found.f.any() and not found.g.any()


def test_the_exact_product_with_nine_bit_weights_is_two_planes() -> None:
    table = (torch.arange(-255, 256)[:, None] * CODES).int()
    found = _exactly(table, 2, max_planes=2)
    assert torch.equal(found.u[0], found.u[1])
    assert factorise(table, 1) is None


@pytest.mark.parametrize("n_w", [1, 2, 255, 511])
def test_sums_of_a_row_and_a_column_need_no_plane(n_w: int) -> None:
    rows, columns = torch.randint(-1000, 1000, (n_w, 1)), torch.randint(-1000, 1000, (256,))
    found = _exactly((rows + columns).int(), 0, max_planes=0)
    assert found.g[0] == 0


@pytest.mark.parametrize("constant", [0, -7, INT32.min, INT32.max])
def test_constant_tables(constant: int) -> None:
    found = _exactly(torch.full((3, 256), constant, dtype=torch.int32), 0)
    assert not found.g.any() and set(found.f.tolist()) == {constant}


def test_entries_at_the_ends_of_int32() -> None:
    ends = torch.tensor([INT32.min, INT32.max], dtype=torch.int32)
    _exactly(ends.repeat(1, 128), 0)  # g alone spans 32 bits
    _exactly(ends.repeat(128)[:, None].expand(256, 256).contiguous(), 0)  # f alone
    checked = ends[(torch.arange(4)[:, None] + CODES) % 2]  # the step, 2**32 - 1, is beyond a scale of int32
    found = factorise(checked)
    assert found is None or torch.equal(found.table(), checked)
    steep = ((torch.arange(255)[:, None] - 127) * CODES * 66311).int()
    assert steep.max() > 0.99 * INT32.max
    assert _exactly(steep, 1).scale.tolist() == [66311]


def _planted(rng: np.random.Generator, n_w: int, bits_v: list[int], bits_u: list[int], scales: list[int]) -> np.ndarray:
    v = np.array([rng.integers(0, 2**bits, n_w) for bits in bits_v])
    u = np.array([rng.integers(0, 2**bits, 256) for bits in bits_u])
    v[:, :2], u[:, :2] = [0, 1], [0, 1]  # contents are 1
    return rng.integers(-999, 999, (n_w, 1)) + rng.integers(-999, 999, 256) + (v.T * scales) @ u


@settings(max_examples=60)
@given(st.data())
def test_planted_planes_are_found(data: st.DataObject) -> None:
    planes = data.draw(st.integers(1, 5))
    bits, scale = st.integers(1, 8), st.sampled_from([1, 2, 3, 64, 255, 1000])
    bits_v, bits_u, scales = (
        data.draw(st.lists(kind, min_size=planes, max_size=planes)) for kind in (bits, bits, scale)
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    table = _planted(rng, data.draw(st.sampled_from([64, 255, 256, 511])), bits_v, bits_u, scales)
    _exactly(torch.from_numpy(table.astype(np.int32)), planes)


@settings(max_examples=40)
@given(st.data())
def test_whatever_is_returned_rebuilds_its_table(data: st.DataObject) -> None:
    """Hard tables: few rows, factors wider than 8 bits on either side, equal rows, large scales."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    planes, n_w = data.draw(st.integers(1, 3)), data.draw(st.integers(2, 40))
    bits_v, bits_u = (data.draw(st.lists(st.integers(1, 12), min_size=planes, max_size=planes)) for _ in range(2))
    scales = data.draw(st.lists(st.integers(1, 10), min_size=planes, max_size=planes))
    table = torch.from_numpy(_planted(rng, n_w, bits_v, bits_u, scales).astype(np.int32))
    table = table[torch.from_numpy(rng.integers(0, n_w, 50))].contiguous()
    found = factorise(table)
    if found is not None:
        _exactly(table, found.planes)


@pytest.mark.parametrize("wide_rows", [True, False])
def test_a_factor_of_16_bits_is_cut_in_two(wide_rows: bool) -> None:
    narrow, wide = torch.randint(0, 256, (256, 1)), torch.randint(0, 2**16, (256,))
    narrow[:2, 0] = wide[:2] = torch.tensor([0, 1])
    wide[2] = 2**16 - 1
    table = (narrow * wide).int()
    table = table.T.contiguous() if wide_rows else table
    _exactly(table, 2)
    assert factorise(table, 1) is None


def test_either_sign_of_several_planes_costs_one_plane_more() -> None:
    """Sign-magnitude weights of 9 bits: every v is twice as wide as 8 bits, the step between the signs is shared."""
    magnitude = torch.arange(-255, 256).abs()
    sign = torch.where(torch.arange(-255, 256) < 0, -1, 1)
    low, high = CODES & 15, CODES >> 4
    table = (sign[:, None] * (magnitude[:, None] * low + 16 * (255 - magnitude[:, None] ^ 85) * high)).int()
    found = factorise(table)
    assert found is not None and found.planes <= 3 and torch.equal(found.table(), table)


@pytest.mark.parametrize("n_w", [8, 255, 511])
@pytest.mark.parametrize("span", [2, 256, 2**31 - 1])
def test_random_tables_are_refused(n_w: int, span: int) -> None:
    assert factorise(torch.randint(-span, span, (n_w, 256), dtype=torch.int32)) is None


def test_one_wrong_entry_costs_a_plane() -> None:
    table = (torch.arange(-127, 128)[:, None] * CODES).int()
    table[200, 77] += 1
    assert factorise(table, 1) is None
    _exactly(table, 2)


def test_the_result_does_not_depend_on_the_past() -> None:
    rng = np.random.default_rng(5)
    table = torch.from_numpy(_planted(rng, 255, [8, 3, 8], [2, 8, 8], [1, 5, 64]).astype(np.int32))
    first = factorise(table)
    np.random.seed(123)
    factorise(table.flip(0).contiguous())
    second = factorise(table)
    assert first is not None and second is not None
    for name in ("f", "g", "scale", "v", "u"):
        assert torch.equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize(
    ("table", "max_planes", "match"),
    [
        (torch.zeros(255, 256, dtype=torch.int64), 5, "int32"),
        (torch.zeros(255, 255, dtype=torch.int32), 5, "256"),
        (torch.zeros(0, 256, dtype=torch.int32), 5, "n_w"),
        (torch.zeros(256, dtype=torch.int32), 5, "n_w, 256"),
        (torch.zeros(256, 256, dtype=torch.int32).T, 5, "contiguous"),
        (torch.zeros(255, 256, dtype=torch.int32), -1, "max_planes >= 0, got -1"),
    ],
)
def test_bad_arguments(table: torch.Tensor, max_planes: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        factorise(table, max_planes)


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_a_short_basis_spans_all_integer_vectors_of_its_span(rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    original = rng.integers(-3, 4, (rank, 40))
    original[:, 0] = 0
    rows = rng.integers(-9, 10, (rank, rank)) @ original * 6
    crossing = pivots(rows, rank)
    assert crossing is not None
    assert len(crossing[0]) == np.linalg.matrix_rank(rows)
    if len(crossing[0]) < rank:
        return
    basis = short_basis(rows)
    assert np.array_equal(coordinates(rows, basis, crossing[1]) @ basis, rows)
    finer = short_basis(original)  # the same span, so the same lattice: either basis is integer in the other
    assert np.array_equal(coordinates(original, basis, crossing[1]) @ basis, original)
    assert np.array_equal(coordinates(basis.astype(np.int64), finer, crossing[1]) @ finer, basis)


def test_rank_is_not_misled_by_differences_of_int32_extremes() -> None:
    assert pivots(np.array([[0, 0], [0, 2**31 - 1]]), 5) == ([1], [1])
    assert pivots(np.array([[0, 0], [0, 2**32 - 1]]), 0) is None


def test_evoapprox_signed_circuits(shared_data: Path) -> None:
    """All 13 within 5 planes: 7 need 1, 9 at most 3, 12 at most 4; measured before in another implementation."""
    library = load_evoapprox(shared_data / "multipliers")
    signed = [library[name] for name in library if library[name].signed]
    counts = [_circuit_planes(layer_table(circuit, Operands.SIGNED).values) for circuit in signed]
    assert len(counts) == 13 and None not in counts
    assert [sum(count <= limit for count in counts if count is not None) for limit in (1, 3, 4, 5)] == [7, 9, 12, 13]


def test_evoapprox_unsigned_circuits(shared_data: Path) -> None:
    library = load_evoapprox(shared_data / "multipliers")
    names = ["mul8u_1JFF", "mul8u_Y48", "mul8u_1446", "mul8u_17C8", "mul8u_JQQ"]
    planes = {
        operands: [_circuit_planes(layer_table(library[name], operands).values) for name in names]
        for operands in (Operands.AFFINE, Operands.SIGN_MAGNITUDE, Operands.SIGN_MAGNITUDE_9)
    }
    assert planes == {
        Operands.AFFINE: [1, 2, 2, 3, 4],
        Operands.SIGN_MAGNITUDE: [1, 2, 2, 2, 3],
        Operands.SIGN_MAGNITUDE_9: [2, 3, 3, 3, 5],
    }


def test_shipped_circuits() -> None:
    library = default_library()
    planes = {"exact": 1, "trunc2": 3, "drum5": 1, "udm": 2, "roba": 2, "bam_h2v6": 5}
    for name, expected in planes.items():
        assert _circuit_planes(layer_table(library[f"mul8u_{name}"], Operands.AFFINE).values) == expected, name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PICOJOULE_CACHE", str(tmp_path / "cache"))
    analysis.forget()
    yield tmp_path / "cache" / "kernels"
    analysis.forget()


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each table that was really factorised."""
    seen: list[int] = []

    def counted(table: torch.Tensor, max_planes: int) -> Factorisation | None:
        seen.append(len(table))
        return factorisation.factorise(table, max_planes)

    monkeypatch.setattr(analysis, "factorise", counted)
    return seen


TABLE = (torch.arange(-127, 128)[:, None] * CODES).int()


def test_analysis_says_what_the_table_is(folder: Path) -> None:
    found = analyse(TABLE)
    assert (found.lowest, found.highest, found.row_span) == (-127 * 255, 127 * 255, 127 * 255)
    assert found.factorisation is not None and found.factorisation.planes == 1
    refused = analyse(torch.randint(-(2**31), 2**31 - 1, (9, 256), dtype=torch.int32))
    assert refused.factorisation is None and refused.row_span > 2**31


def test_equal_tables_share_an_analysis_and_changed_ones_do_not(folder: Path, searches: list[int]) -> None:
    table = TABLE.clone()
    first = analyse(table)
    assert analyse(TABLE) is first
    table[3, 4] += 1
    assert analyse(table) is not first and analyse(table).highest == first.highest
    assert len(searches) == 2


@pytest.mark.parametrize("factorises", [True, False])
def test_the_disk_remembers(folder: Path, searches: list[int], factorises: bool) -> None:
    table = TABLE if factorises else torch.randint(-9, 9, (9, 256), dtype=torch.int32)
    before = analyse(table)
    (entry,) = folder.iterdir()  # no temporary file is left
    assert entry.suffix == ".npz" and bool(np.load(entry)["found"]) is factorises
    analysis.forget()
    after = analyse(table)
    assert len(searches) == 1 and (after.factorisation is None) is not factorises
    if before.factorisation is not None and after.factorisation is not None:
        assert torch.equal(before.factorisation.v, after.factorisation.v)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "digest only", "another table"])
def test_a_damaged_entry_is_found_again(
    folder: Path, searches: list[int], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    analyse(2 * TABLE)
    (other,) = folder.iterdir()
    analyse(TABLE)
    entry = next(path for path in folder.iterdir() if path != other)
    whole = entry.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    entry.write_bytes(
        {
            "truncated": whole[: len(whole) // 2],
            "flipped": bytes(flipped),
            "empty": b"",
            "digest only": whole[-32:],
            "another table": other.read_bytes(),
        }[damage]
    )
    analysis.forget()
    with caplog.at_level(logging.WARNING):
        found = analyse(TABLE)
    assert found.factorisation is not None and torch.equal(found.factorisation.table(), TABLE)
    assert len(searches) == 3 and "analysing the table again" in caplog.text
    assert entry.read_bytes() == whole  # deterministic, to the byte


def test_an_unwritable_cache_warns_and_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")
    monkeypatch.setenv("PICOJOULE_CACHE", os.fspath(occupied))
    analysis.forget()
    with pytest.warns(UserWarning, match="cannot write the kernel cache.*PICOJOULE_CACHE"):
        assert analyse(TABLE).factorisation is not None
    analysis.forget()


def test_analysis_refuses_what_is_no_table(folder: Path) -> None:
    with pytest.raises(ValueError, match="int32"):
        analyse(TABLE.float())
