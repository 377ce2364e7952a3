"""Circuits by output channel: against brute force, never worse than by layer, and what the pieces add up to."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from approx import ChannelChoice, Choice, Operands
from multipliers import Library, generate
from noise_models import (
    Candidate,
    Degradation,
    ErrorPrediction,
    FisherDegradation,
    Front,
    LayerSensitivity,
    LayerTolerance,
    Sensitivity,
    Tolerance,
    ToleranceDegradation,
    error_model,
    knapsack,
    list_candidates,
    predict_choice,
    with_channel_choices,
)
from noise_models.prediction import FloatArray
from noise_models.testing import random_trace

Table = dict[str, list[Candidate]]


def fisher(layers: dict[str, list[float]]) -> FisherDegradation:
    known = {name: LayerSensitivity(np.array(f), np.array(f)) for name, f in layers.items()}
    return FisherDegradation(Sensitivity(known, 1))


def candidate(judge: Degradation, layer: str, choice: Choice, energy: float, std: list[float]) -> Candidate:
    prediction = ErrorPrediction(np.zeros(len(std)), np.array(std), np.array(std))
    return Candidate(choice, energy, judge.of(layer, prediction), prediction)


def layer_table_of(energy: list[float], std: list[list[float]], sensitivity: list[float]) -> tuple[Table, Degradation]:
    """One layer: std of circuit m in channel c, sensitivity of channel c."""
    judge = fisher({"layer": sensitivity})
    rows = enumerate(zip(energy, std, strict=True))
    return {"layer": [candidate(judge, "layer", Choice(f"m{m}"), e, s) for m, (e, s) in rows]}, judge


numbers = st.sampled_from([0.0, 1e-3, 0.1, 0.5, 1.0, 2.0, 30.0])


@st.composite
def layers(draw: st.DrawFn) -> tuple[Table, Degradation]:
    circuits, channels = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    std = [draw(st.lists(numbers, min_size=channels, max_size=channels)) for _ in range(circuits)]
    energy = draw(st.lists(numbers, min_size=circuits, max_size=circuits))
    return layer_table_of(energy, std, draw(st.lists(numbers, min_size=channels, max_size=channels)))


def every_mixture(row: list[Candidate], judge: Degradation) -> dict[tuple[str, ...], tuple[float, float]]:
    """Circuits by channel -> energy and degradation, of all M ** C of them."""
    hurt = [judge.by_channel("layer", c.prediction) for c in row]
    found = {}
    for chosen in product(range(len(row)), repeat=len(hurt[0])):
        energy = math.fsum(row[m].energy for m in chosen) / len(chosen)
        degradation = math.fsum(hurt[m][c] for c, m in enumerate(chosen))
        found[tuple(row[m].choice.multiplier for m in chosen)] = (energy, degradation)
    return found


def test_a_worked_example() -> None:
    """Channel 1 minds ten times as much, so it leaves the cheap circuit first."""
    table, judge = layer_table_of([1.0, 3.0], [[1.0, 1.0], [0.0, 0.0]], [2.0, 20.0])
    mixed = [c for c in with_channel_choices(table, judge)["layer"] if isinstance(c.choice, ChannelChoice)]
    assert [(c.choice.multipliers, c.energy, c.degradation) for c in mixed] == [(("m0", "m1"), 2.0, 1.0)]
    assert mixed[0].prediction.residual_std.tolist() == [1.0, 0.0]
    front = knapsack(with_channel_choices(table, judge))
    assert [(p.energy, p.degradation) for p in front] == [(1.0, 11.0), (2.0, 1.0), (3.0, 0.0)]


@given(layers(), st.integers(1, 20))
def test_no_mixture_beats_a_mixed_candidate(layer: tuple[Table, Degradation], prices: int) -> None:
    table, judge = layer
    every = every_mixture(table["layer"], judge)
    slack = 1e-7 * max(max(pair) for pair in every.values())
    for found in with_channel_choices(table, judge, prices=prices)["layer"]:
        if not isinstance(found.choice, ChannelChoice):
            continue
        assert (found.energy, found.degradation) == pytest.approx(every[found.choice.multipliers])
        assert found.degradation == pytest.approx(judge.of("layer", found.prediction))
        for energy, degradation in every.values():
            assert not (energy < found.energy - slack and degradation <= found.degradation)
            assert not (energy <= found.energy and degradation < found.degradation - slack)


@given(layers())
def test_many_prices_find_the_whole_convex_front(layer: tuple[Table, Degradation]) -> None:
    """At any price of degradation nothing costs less than the best candidate."""
    table, judge = layer
    every = every_mixture(table["layer"], judge)
    found = with_channel_choices(table, judge, prices=200)["layer"]
    for price in np.geomspace(1e-9, 1e9, 19):
        best = min(energy + price * degradation for energy, degradation in every.values())
        assert min(c.energy + price * c.degradation for c in found) == pytest.approx(best, rel=0.02, abs=1e-12)


@given(layers(), layers(), st.integers(1, 4) | st.none(), st.integers(1, 8))
def test_the_front_is_never_worse_than_by_layer(
    first: tuple[Table, Degradation], second: tuple[Table, Degradation], circuits: int | None, prices: int
) -> None:
    known = {f"layer{i}": _sensitivity(judge) for i, (_, judge) in enumerate((first, second))}
    judge = FisherDegradation(Sensitivity(known, 1))
    table = {f"layer{i}": t["layer"] for i, (t, _) in enumerate((first, second))}
    wider = with_channel_choices(table, judge, circuits=circuits, prices=prices)
    plain, mixed = knapsack(table), knapsack(wider)
    slack = 1e-9 * max(p.degradation for p in plain)
    for name, row in wider.items():
        assert set(map(id, table[name])) <= set(map(id, row))
        assert all(len(c.choice.circuits) <= (circuits or 4) for c in row)
    for point in plain:
        relaxed = _convex(mixed, point.energy)
        assert relaxed <= point.degradation + slack


def _sensitivity(judge: Degradation) -> LayerSensitivity:
    assert isinstance(judge, FisherDegradation)
    return judge.sensitivity["layer"]


def _convex(front: Front, energy: float) -> float:
    """Least degradation of mixtures of a convex front's vertices."""
    return float(np.interp(energy, [p.energy for p in front], [p.degradation for p in front]))


@given(layers())
def test_limits_on_the_circuits_of_a_layer(layer: tuple[Table, Degradation]) -> None:
    table, judge = layer
    assert with_channel_choices(table, judge, circuits=1)["layer"] == sorted(
        table["layer"], key=lambda c: (c.energy, c.degradation)
    )
    any_number, enough = (with_channel_choices(table, judge, circuits=k)["layer"] for k in (None, len(table["layer"])))
    for price in np.geomspace(1e-6, 1e6, 13):
        first, second = (min(c.energy + price * c.degradation for c in row) for row in (enough, any_number))
        assert first == pytest.approx(second, abs=1e-12)


LIBRARY = Library([generate(n) for n in ("mul8u_array", "mul8u_trunc4", "mul8u_trunc6", "mul8u_bam_h2v6")])


def test_real_circuits() -> None:
    """Codings and orders are never mixed, and the joint prediction is that of the circuits it consists of."""
    trace, model = random_trace(3, groups=2, channels=8), error_model("sampled")
    random = np.random.default_rng(0)
    judge = fisher({trace.name: random.lognormal(0, 2, 8).tolist()})
    operands = [Operands.SIGN_MAGNITUDE, Operands.AFFINE]
    table = list_candidates({trace.name: trace}, LIBRARY, model, judge, operands)
    mixed = [c for c in with_channel_choices(table, judge)[trace.name] if isinstance(c.choice, ChannelChoice)]
    assert {c.choice.operands for c in mixed} == set(operands) and len({c.choice for c in mixed}) == len(mixed)
    for found in mixed:
        circuits = [LIBRARY[name] for name in found.choice.multipliers]
        assert found.energy == pytest.approx(np.mean([c.energy_relative for c in circuits]))
        prediction = predict_choice(trace, circuits, found.choice, model)
        np.testing.assert_array_equal(prediction.residual_std, found.prediction.residual_std)
        np.testing.assert_array_equal(prediction.mean, found.prediction.mean)
    single = predict_choice(trace, [LIBRARY["mul8u_trunc6"]], Choice("mul8u_trunc6"), model)
    expected = next(c for c in table[trace.name] if c.choice == Choice("mul8u_trunc6"))
    np.testing.assert_array_equal(single.std, expected.prediction.std)


def test_every_degradation_is_the_sum_of_its_channels() -> None:
    random = np.random.default_rng(1)
    prediction = ErrorPrediction(*random.uniform(0, 1, (3, 5)))
    known = Sensitivity({"a": LayerSensitivity(*random.uniform(0, 1, (2, 5)))}, 1)
    by_layer, by_channel = (LayerTolerance.of_relative(t, 2.0) for t in (0.3, random.uniform(0.1, 1, 5)))
    for corrected in (True, False):
        for judge in (
            FisherDegradation(known, corrected),
            ToleranceDegradation(Tolerance("t", {}, {"a": by_layer}), corrected),
            ToleranceDegradation(Tolerance("t", {}, {"a": by_channel}), corrected),
        ):
            shares = judge.by_channel("a", prediction)
            assert shares.shape == (5,) and shares.sum() == pytest.approx(judge.of("a", prediction))


def test_a_channel_that_bears_nothing_takes_the_exact_circuit() -> None:
    borne = LayerTolerance.of_absolute(np.array([0.0, 1.0, 1.0]), 1.0)
    judge = ToleranceDegradation(Tolerance("t", {}, {"layer": borne}))
    rough, exact = (candidate(judge, "layer", Choice(n), e, [s] * 3) for n, e, s in (("r", 1.0, 0.5), ("x", 4.0, 0.0)))
    assert rough.degradation == math.inf
    mixed = knapsack(with_channel_choices({"layer": [rough, exact]}, judge)).points[0]
    assert mixed.assignment.layers["layer"] == ChannelChoice(("x", "r", "r"))
    assert (mixed.energy, mixed.degradation) == (2.0, pytest.approx(2 * 0.25 / 3))


def test_bad_input() -> None:
    class Whole(Degradation):
        def of(self, layer: str, prediction: ErrorPrediction) -> float:
            return float(prediction.std.max())

    table, judge = layer_table_of([1.0, 2.0], [[1.0], [0.0]], [1.0])
    with pytest.raises(ValueError, match="Whole is no sum over output channels"):
        with_channel_choices(table, Whole())
    for wrong in ({"circuits": 0}, {"prices": 0}):
        with pytest.raises(ValueError, match="at least one price and circuit"):
            with_channel_choices(table, judge, **wrong)
    with pytest.raises(ValueError, match="no layer 'other'"):
        with_channel_choices({"other": table["layer"]}, judge)


def test_shares_are_floats() -> None:
    shares: FloatArray = fisher({"a": [1.0, 4.0]}).by_channel(
        "a", ErrorPrediction(np.zeros(2), np.ones(2), np.array([1.0, 0.5]))
    )
    assert shares.tolist() == [0.5, 0.5]
