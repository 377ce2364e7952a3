"""The energy-aware reward against the lower convex envelope by definition; the published configurations."""

import itertools
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from approx import Choice
from noise_models.agn import PUBLISHED, AgnSearch, AgnSettings, EnergyReward, LayerFolding, foldings
from noise_models.candidates import Candidate
from noise_models.prediction import ErrorPrediction
from picojoule.config import ToleranceConfig
from picojoule.config.sections import AgnPreset
from picojoule.pipeline.tolerate import SHORT, agn_settings


def _candidate(std: float, energy: float, channels: int = 1) -> Candidate:
    error = np.full(channels, std)
    return Candidate(Choice(f"m{std:g}"), energy, std**2, ErrorPrediction(np.zeros(channels), 2 * error, error))


def _reward(*rows: list[tuple[float, float]]) -> EnergyReward:
    unit = LayerFolding(np.ones(1), 1.0)
    names = [f"layer{i}" for i in range(len(rows))]
    table = {name: [_candidate(*pair) for pair in row] for name, row in zip(names, rows, strict=True)}
    return EnergyReward(table, dict.fromkeys(names, unit))


def _envelope(points: list[tuple[float, float]], sigma: float) -> float:
    """Least energy of any mixture of two points whose mean std is at most sigma; sigma is not below the least std."""
    best = min(e for s, e in points if s <= sigma)
    for (s, e), (t, f) in itertools.permutations(points, 2):
        if s <= sigma < t:
            best = min(best, e + (f - e) * (sigma - s) / (t - s))
    return best


numbers = st.integers(0, 20).map(lambda n: n / 16)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=7), numbers)
def test_price_is_the_lower_convex_envelope(points: list[tuple[float, float]], extra: float) -> None:
    sigma = min(s for s, _ in points) + extra
    got = _reward(points).price(torch.tensor([sigma]))
    assert float(got) == pytest.approx(_envelope(points, sigma), abs=1e-5)


def test_prices_of_layers_add_up_and_fall_with_the_next_circuit_in_sight() -> None:
    reward = _reward([(0.0, 1.0), (0.25, 0.5), (0.5, 0.4)], [(0.0, 0.5), (1.0, 0.5)])
    parameter = torch.tensor([0.125, 0.3]).log().requires_grad_()
    price = reward.price(reward.sigma(parameter))
    price.backward()
    assert price.item() == pytest.approx(0.75 + 0.5)
    assert parameter.grad is not None
    np.testing.assert_allclose(parameter.grad, [-2 * 0.125, 0.0], atol=1e-6)  # nothing to gain in the second layer
    assert reward.sigma(reward.start(torch.tensor([0.3, 1e-4]))).tolist() == pytest.approx([0.3, 1e-4])


def test_a_layer_without_candidates_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layers \['layer1'\] have no candidate"):
        _reward([(0.0, 1.0)], [])


def test_search_with_it_goes_where_energy_is_to_be_saved(normalised: Any) -> None:
    """Two equal networks; only where a cheaper circuit waits does sigma grow."""
    model, traces, batches = normalised
    folding = foldings(model, traces)
    free = {name: [_candidate(0.0, 1.0, len(t.weight))] for name, t in traces.items()}
    rough = Candidate(
        Choice("rough"), 0.1, 1.0, ErrorPrediction(np.zeros(3), np.full(3, 9.0), 0.5 * np.abs(folding["7"].unit))
    )
    table = free | {"7": [*free["7"], rough]}
    settings = AgnSettings(strength=1.0, epochs=6, decay_every=0)
    found = []
    for candidates in (free, table):
        search = AgnSearch(model, traces, settings, EnergyReward(candidates, folding))
        while not search.finished:
            search.run_epoch(batches)
        found.append(search.sigma.detach())
    assert found[1][2] > 0.13 > 0.1 > found[0][2]
    assert all((sigma > 0).all() for sigma in found)
    resumed = AgnSearch(model, traces, replace(settings, epochs=7), EnergyReward(table, folding))
    resumed.load_state(search.state())
    assert resumed.run_epoch(batches) == search.run_epoch(batches)  # Adam goes on where it was
    assert torch.equal(resumed.parameter, search.parameter)
    assert search.tolerance().method == "agn-energy"


def test_published_configurations_are_those_of_the_notes() -> None:
    """papers/approximate_networks.md §1, the table of hyper-parameters."""
    resnet, vgg, mobilenet = PUBLISHED["resnet20"], PUBLISHED["vgg16"], PUBLISHED["mobilenet_v2"]
    assert resnet.search == AgnSettings(0.2, 0.5, 0.1, epochs=30, learning_rate=0.1, momentum=0.9, decay_every=10)
    assert resnet.search == AgnSettings()
    assert (resnet.floating.epochs, resnet.floating.decay_at, resnet.floating.weight_decay) == (180, (90, 135), 1e-4)
    assert (resnet.quantisation_aware.learning_rate, resnet.quantisation_aware.decay_at) == (1e-2, (10, 20))
    assert (resnet.retraining.epochs, resnet.retraining.learning_rate, resnet.retraining.decay_at) == (10, 1e-3, (4, 8))
    assert (vgg.search.epochs, vgg.search.learning_rate, vgg.search.decay_every) == (3, 5e-4, 2)
    assert (mobilenet.search.epochs, mobilenet.search.learning_rate, mobilenet.retraining.decay_at) == (5, 5e-3, (1,))
    qos = {n: PUBLISHED[f"qos-resnet{n}"].search for n in (8, 14, 20, 32)}
    assert {n: (s.strength, s.sigma_max, s.sigma_init) for n, s in qos.items()} == {
        8: (0.3, 0.3, 0.1),
        14: (0.3, 0.15, 0.05),
        20: (0.2, 0.075, 0.01),
        32: (0.15, 0.075, 0.01),
    }


def test_presets_of_the_configuration_are_the_published_ones_and_keys_change_them() -> None:
    assert set(get_args(AgnPreset)) == {"short", *PUBLISHED}
    assert agn_settings(ToleranceConfig(), 0) == SHORT
    config = ToleranceConfig.model_validate({"preset": "qos-resnet20", "lambda": 0.0, "epochs": 1, "decay_every": 0})
    assert agn_settings(config, 7) == AgnSettings(0.0, 0.075, 0.01, epochs=1, learning_rate=1e-2, decay_every=0, seed=7)
