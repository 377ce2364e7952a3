"""Multiplier: validation, immutability, identity, statistics."""

import copy
import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from multipliers import ErrorStatistics, Library, Multiplier, Netlist, Provenance, generate, operand_values

PROVENANCE = Provenance(source="a test", node="none", method="invented", uncertainty=0.1)


def make(function: np.ndarray | Netlist, **changes: object) -> Multiplier:
    fields: dict = {
        "name": "m",
        "function": function,
        "signed": False,
        "width_a": 2,
        "width_b": 2,
        "energy_pj": 1.0,
        "energy_relative": 1.0,
        "area_um2": None,
        "delay_ns": None,
        "provenance": PROVENANCE,
    }
    return Multiplier(**{**fields, **changes})


EXACT = np.multiply.outer(np.arange(4), np.arange(4))


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        (EXACT.astype(float), {}, "integer numpy array, got float64"),
        (EXACT.tolist(), {}, "integer numpy array, got list"),
        (EXACT[:3], {}, r"shape \(4, 4\), got \(3, 4\)"),
        (EXACT, {"width_a": 3}, r"shape \(8, 4\)"),
        (EXACT + 7, {}, r"0..15, got 7..16"),
        (EXACT - 1, {}, r"0..15, got -1..8"),
        (EXACT, {"signed": True}, r"-8..7, got 0..9"),
        (EXACT, {"width_a": 0}, "width_a must be an integer >= 1, got 0"),
        (EXACT, {"width_b": 2.0}, r"width_b must be an integer >= 1, got 2\.0"),
        (EXACT, {"width_a": 16, "width_b": 16}, "20 operand bits at most"),
        (EXACT, {"name": ""}, "name is empty"),
        (EXACT, {"energy_pj": float("nan")}, "energy_pj"),
        (EXACT, {"energy_relative": -0.1}, "energy_relative"),
        (EXACT, {"energy_pj": None}, "energy_pj"),
        (EXACT, {"area_um2": -1.0}, "area_um2"),
        (EXACT, {"delay_ns": float("inf")}, "delay_ns"),
    ],
)
def test_bad_input_is_refused(table: np.ndarray, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(table, **changes)


@pytest.mark.parametrize("field", ["source", "node", "method"])
def test_provenance_must_say_something(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(PROVENANCE, **{field: ""})


@pytest.mark.parametrize("uncertainty", [-0.1, float("nan"), float("inf")])
def test_provenance_uncertainty(uncertainty: float) -> None:
    with pytest.raises(ValueError, match="uncertainty"):
        dataclasses.replace(PROVENANCE, uncertainty=uncertainty)


def test_is_immutable_and_keeps_its_own_table() -> None:
    source = EXACT.astype(np.int32)
    multiplier = make(source)
    source[1, 1] = 7
    assert multiplier.table[1, 1] == 1
    with pytest.raises(ValueError, match="read-only"):
        multiplier.table[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        multiplier.name = "other"  # type: ignore[misc]
    assert copy.deepcopy(multiplier) is multiplier


@pytest.mark.parametrize("multiplier", [make(EXACT), generate("mul3u_trunc2")], ids=["table", "netlist"])
def test_is_immutable_in_another_process_too(multiplier: Multiplier) -> None:
    hash_here = multiplier.content_hash  # the table of a netlist is cached, and travels
    back = pickle.loads(pickle.dumps(multiplier))
    with pytest.raises(ValueError, match="read-only"):
        back.table[0, 0] = 1
    assert back.content_hash == hash_here and back.statistics() == multiplier.statistics()


def test_numpy_numbers_become_python_numbers_and_can_be_saved(tmp_path: Path) -> None:
    fields = {"width_a": np.int64(2), "width_b": np.uint8(2), "signed": np.bool_(False)}
    figures = {"energy_pj": np.float32(0.5), "energy_relative": 1, "area_um2": np.int32(7), "delay_ns": np.float64(2.5)}
    multiplier = make(EXACT, **fields, **figures)
    assert [type(getattr(multiplier, field)) for field in fields] == [int, int, bool]
    assert all(type(getattr(multiplier, field)) is float for field in figures)
    Library([multiplier]).save(tmp_path / "a.npz")
    back = Library.load(tmp_path / "a.npz")["m"]
    assert (back.width_a, back.signed, back.energy_pj, back.area_um2) == (2, False, 0.5, 7.0)


@pytest.mark.parametrize("name", ["mul8u_drum4", "mul16s_trunc3"])
def test_products_are_arrays_of_the_shape_of_the_operands(name: str) -> None:
    """Of scalars too, from a table and from gates alike."""
    netlist = generate(name)
    circuits = [netlist, netlist.netlist]
    if netlist.has_table:
        circuits.append(dataclasses.replace(netlist, function=netlist.table))
    for circuit in circuits:
        for a, b in ((3, 5), ([3], [5]), (np.full((2, 0), 3), np.full((2, 0), 5)), (np.full((2, 3), 3),) * 2):
            products = circuit.multiply(a, b)
            assert type(products) is np.ndarray and products.dtype == np.int64 and products.shape == np.shape(a)
            np.testing.assert_array_equal(products, netlist.netlist.multiply(a, b))


def test_a_netlist_must_fit_the_multiplier() -> None:
    netlist = generate("mul2u_exact").netlist
    assert make(netlist).netlist is netlist
    with pytest.raises(ValueError, match=r"expected \(width_a, width_b, signed\) = \(3, 2, False\)"):
        make(netlist, width_a=3)
    narrow = dataclasses.replace(netlist, outputs=netlist.outputs[:1])
    assert make(narrow).table.max() == 1
    wide = dataclasses.replace(netlist, outputs=(*netlist.outputs, 0))
    with pytest.raises(ValueError, match="at most 4 product bits for 2 x 2, 'mul2u_exact' has 5"):
        make(wide)


def test_hash_is_of_the_function_only() -> None:
    base = make(EXACT)
    assert base.content_hash == make(EXACT.astype(np.uint8), name="n", energy_pj=9.0).content_hash
    assert base.content_hash == make(np.asfortranarray(EXACT)).content_hash
    other = EXACT.copy()
    other[3, 3] = 7
    small = EXACT % 8
    assert len({m.content_hash for m in (base, make(other), make(small), make(small, signed=True))}) == 4


def test_hash_tells_widths_apart() -> None:
    wide, tall = np.zeros((2, 8), int), np.zeros((8, 2), int)
    assert make(wide, width_a=1, width_b=3).content_hash != make(tall, width_a=3, width_b=1).content_hash


def test_signed_patterns() -> None:
    assert operand_values(3, True).tolist() == [0, 1, 2, 3, -4, -3, -2, -1]
    assert operand_values(2, False).tolist() == [0, 1, 2, 3]
    values = operand_values(2, True)
    multiplier = make(np.multiply.outer(values, values), signed=True)
    assert multiplier.exact_products()[2, 2] == 4
    assert multiplier.exact_products()[3, 1] == -1
    assert multiplier.is_exact


def test_statistics_by_hand() -> None:
    table = EXACT.copy()
    table[3, 3] = 7  # -2 of 9
    table[0, 2] = 1  # +1 of 0
    statistics = make(table).statistics()
    assert statistics.mae == 3 / 16
    assert statistics.wce == 2
    assert statistics.bias == -1 / 16
    assert statistics.mse == 5 / 16
    assert statistics.ep == 2 / 16
    assert statistics.wcre == 2 / 9
    assert statistics.mre == pytest.approx(2 / 9 / 9)
    assert statistics.mre_8b2017 == pytest.approx((2 / 9 + 1) / 16)


def test_statistics_under_histograms() -> None:
    table = EXACT.copy()
    table[3, 3] = 7
    multiplier = make(table)
    certain = multiplier.statistics(p=[0, 0, 0, 5], q=[0, 0, 0, 1])
    assert (certain.mae, certain.wce, certain.ep, certain.bias) == (2, 2, 1, -2)
    never = multiplier.statistics(p=[1, 1, 1, 0])
    assert (never.mae, never.wce, never.ep, never.mre) == (0, 0, 0, 0)
    zeros = multiplier.statistics(p=[1, 0, 0, 0])
    assert zeros.mre == 0 and zeros.wcre == 0
    uniform = multiplier.statistics(p=[3, 3, 3, 3], q=[1, 1, 1, 1])
    for field in dataclasses.fields(ErrorStatistics):
        assert getattr(uniform, field.name) == pytest.approx(getattr(multiplier.statistics(), field.name))


@pytest.mark.parametrize("histogram", [[1, 1], [0, 0, 0, 0], [1, 1, 1, -1], [1, 1, 1, float("nan")]])
def test_malformed_histograms_are_refused(histogram: list[float]) -> None:
    with pytest.raises(ValueError, match="histogram q"):
        make(EXACT).statistics(q=histogram)


def test_statistics_need_matching_tables() -> None:
    with pytest.raises(ValueError, match="equal 2-D tables"):
        ErrorStatistics.of(EXACT.astype(np.int32), EXACT[:2].astype(np.int32))


def test_sampled_statistics_are_those_of_all_pairs_when_all_are_drawn() -> None:
    """Both sum up the same formulas: every pair once is the uniform table."""
    multiplier = generate("mul6s_trunc4")
    table, exact = multiplier.table, multiplier.exact_products()
    sampled = ErrorStatistics.sampled(table.ravel().astype(np.int64), exact.ravel().astype(np.int64))
    assert sampled.sampled_pairs == table.size and multiplier.statistics().sampled_pairs == 0
    for field in dataclasses.fields(ErrorStatistics)[:-1]:
        expected = getattr(multiplier.statistics(), field.name)
        assert getattr(sampled, field.name) == pytest.approx(expected, rel=1e-12), field.name


@given(
    table=hnp.arrays(np.int32, (8, 4), elements=st.integers(0, 31)),
    p=hnp.arrays(np.float64, 8, elements=st.floats(0, 100)).filter(lambda x: x.sum() > 1e-3),
    q=hnp.arrays(np.float64, 4, elements=st.floats(0, 100)).filter(lambda x: x.sum() > 1e-3),
)
def test_statistics_equal_a_loop(table: np.ndarray, p: np.ndarray, q: np.ndarray) -> None:
    statistics = make(table, width_a=3, width_b=2).statistics(p, q)
    mae = mse = bias = ep = relative = share = mre_all = 0.0
    worst = 0
    for a in range(8):
        for b in range(4):
            weight = p[a] / p.sum() * (q[b] / q.sum())
            error = int(table[a, b]) - a * b
            mae += weight * abs(error)
            mse += weight * error**2
            bias += weight * error
            ep += weight * (error != 0)
            mre_all += weight * abs(error) / max(1, a * b)
            if a * b:
                share += weight
                relative += weight * abs(error) / (a * b)
            if p[a] > 0 and q[b] > 0 and p[a] / p.sum() > 0 and q[b] / q.sum() > 0:
                worst = max(worst, abs(error))
    assert statistics.mae == pytest.approx(mae)
    assert statistics.mse == pytest.approx(mse)
    assert statistics.bias == pytest.approx(bias, abs=1e-9)
    assert statistics.ep == pytest.approx(ep)
    assert statistics.wce == worst
    assert statistics.mre_8b2017 == pytest.approx(mre_all)
    assert statistics.mre == pytest.approx(relative / share if share else 0.0)
