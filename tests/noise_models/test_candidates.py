"""Candidates: what is listed, what it costs, what is refused; and a real network from trace to front."""

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from approx import Choice, Operands
from multipliers import Library, Multiplier, Provenance, default_library, load_evoapprox
from noise_models.candidates import MultiplicationEnergy, list_candidates, undominated
from noise_models.degradation import ToleranceDegradation
from noise_models.error_models import PatchChannel, Sampled
from noise_models.selection import best_exactly, knapsack, uniform
from noise_models.testing import random_trace
from noise_models.tolerance import LayerTolerance, Tolerance

TRACES = {"a": random_trace(0, macs=3000), "b": random_trace(1, groups=2, macs=1000)}
DEGRADATION = ToleranceDegradation(
    Tolerance("agn", {}, {name: LayerTolerance.of_relative(0.1, 5.0) for name in TRACES})
)


def _few() -> Library:
    return default_library().filter(
        lambda m: m.name in {"mul8u_exact", "mul8s_exact", "mul8u_trunc4", "mul8u_bam_h2v6"}
    )


def test_lists_every_way_that_fits_once() -> None:
    rows = list_candidates(TRACES, _few(), PatchChannel(), DEGRADATION)
    for row in rows.values():
        choices = [c.choice for c in row]
        assert len(set(choices)) == len(choices)
        assert all(c.operands.signed_circuit == c.multiplier.startswith("mul8s") for c in choices)
        assert Choice("mul8u_exact", Operands.AFFINE, True) not in choices  # the same as not exchanged
        assert Choice("mul8u_bam_h2v6", Operands.AFFINE, True) in choices
        assert sum(c.multiplier == "mul8s_exact" for c in choices) == 1
        assert [c.energy for c in row] == sorted(c.energy for c in row)
        assert all(c.degradation == 0 for c in row if c.choice.multiplier.endswith("exact"))
        assert all(c.degradation > 0 for c in row if not c.choice.multiplier.endswith("exact"))


def test_default_energy_is_the_share_of_multiplications() -> None:
    library = _few()
    rows = list_candidates(TRACES, library, PatchChannel(), DEGRADATION, [Operands.AFFINE])
    for name, share in (("a", 0.75), ("b", 0.25)):
        for c in rows[name]:
            assert c.energy == pytest.approx(share * library[c.choice.multiplier].energy_relative)
    assert knapsack(rows).points[-1].energy == pytest.approx(1.0)


def test_the_caller_may_charge_what_it_likes() -> None:
    plain = MultiplicationEnergy(TRACES)

    def cost(trace, choice, multiplier):  # type: ignore[no-untyped-def]
        return plain(trace, choice, multiplier) * (choice.operands.stored_bits / 8)

    rows = list_candidates(TRACES, _few(), PatchChannel(), DEGRADATION, cost=cost)
    by_choice = {c.choice: c.energy for c in rows["a"]}
    eight, nine = (by_choice[Choice("mul8u_trunc4", o)] for o in (Operands.SIGN_MAGNITUDE, Operands.SIGN_MAGNITUDE_9))
    assert nine == pytest.approx(eight * 9 / 8)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="layer '[ab]', multiplier"):
            list_candidates(TRACES, _few(), PatchChannel(), DEGRADATION, cost=lambda *_, wrong=wrong: wrong)


def test_progress_counts_layers_and_codings() -> None:
    steps: list[tuple[int, int, str]] = []
    list_candidates(TRACES, _few(), Sampled(), DEGRADATION, progress=lambda *s: steps.append(s))
    assert steps == [(i, 8, "a" if i <= 4 else "b") for i in range(1, 9)]


def test_undominated_keeps_the_lower_left_border() -> None:
    row = list_candidates(TRACES, default_library(), PatchChannel(), DEGRADATION)["a"]
    kept = undominated(row)
    assert 2 < len(kept) < len(row)
    for c in row:
        assert any(k.energy <= c.energy and k.degradation <= c.degradation for k in kept)
    for left, right in pairwise(kept):
        assert left.energy < right.energy and left.degradation > right.degradation


def test_circuits_that_cannot_fit_are_refused() -> None:
    narrow = Multiplier(
        "tiny",
        np.multiply.outer(np.arange(16), np.arange(16)),
        False,
        4,
        4,
        1.0,
        1.0,
        None,
        None,
        Provenance("test", "none", "made up", 0.0),
    )
    with pytest.raises(ValueError, match="'tiny' is 4x4"):
        list_candidates(TRACES, {"tiny": narrow}, PatchChannel(), DEGRADATION)
    with pytest.raises(ValueError, match="none of the 1 circuits fits operands"):
        list_candidates(TRACES, _few().filter(name="mul8s_exact"), PatchChannel(), DEGRADATION, [Operands.AFFINE])
    with pytest.raises(ValueError, match="no layers"):
        list_candidates({}, _few(), PatchChannel(), DEGRADATION)


def test_patch_channel_on_published_circuits(shared_data: Path) -> None:
    """All 49 circuits in every way on made-up layers of ResNet-20's sizes: close to the truth, and quick."""
    library = load_evoapprox(shared_data / "multipliers")
    traces = {
        f"l{k}": random_trace(k, channels=16 << (k // 3), fan_in=144 << (k // 3), patches=512) for k in (0, 1, 4, 8)
    }
    degradation = ToleranceDegradation(
        Tolerance("agn", {}, {name: LayerTolerance.of_relative(0.1, 5.0) for name in traces})
    )
    start = time.perf_counter()
    modelled = list_candidates(traces, library, PatchChannel(), degradation)
    assert time.perf_counter() - start < 60
    true = list_candidates(traces, library, Sampled(), degradation)
    ratios = []
    for name in traces:
        by_choice = {c.choice: c.prediction for c in true[name]}
        for c in modelled[name]:
            if by_choice[c.choice].layer_residual_std > 0:
                ratios.append(c.prediction.layer_residual_std / by_choice[c.choice].layer_residual_std)
    error = np.abs(np.array(ratios) - 1)
    assert np.median(error) < 0.05 and np.quantile(error, 0.9) < 0.12
    for point in uniform(true):
        assert best_exactly(true, point.energy).degradation <= point.degradation * (1 + 1e-9)
