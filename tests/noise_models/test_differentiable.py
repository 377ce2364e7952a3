"""The differentiable choice: moments of the mixture, its gradient, its limits, and going on after an interruption."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from approx import Choice
from noise_models.agn import foldings
from noise_models.candidates import Candidate
from noise_models.differentiable import ChoiceSettings, DifferentiableChoice, choose_differentiably
from noise_models.differentiable.mixture import Mixture
from noise_models.prediction import ErrorPrediction

Table = dict[str, list[Candidate]]
ROUGH = {"exact": (0.0, 1.0), "fine": (0.02, 0.6), "rough": (0.3, 0.3), "useless": (40.0, 0.1)}


@pytest.fixture(scope="module")
def table(normalised: Any) -> Table:
    """Errors relative to the std of each layer's output before batch normalisation; a third of the energy each."""
    return {
        name: [
            Candidate(
                Choice(circuit),
                energy / 3,
                std**2,
                ErrorPrediction(std * folding.unit, 2 * std * np.abs(folding.unit), std * np.abs(folding.unit)),
            )
            for circuit, (std, energy) in ROUGH.items()
        ]
        for name, folding in foldings(normalised.model, normalised.traces).items()
    }


@pytest.mark.parametrize("corrected", [True, False])
def test_noise_has_the_moments_of_the_mixture(normalised: Any, table: Table, corrected: bool) -> None:
    model, traces, _ = normalised
    choice = DifferentiableChoice(model, traces, table, 1.0, ChoiceSettings(corrected=corrected))
    pi = torch.tensor([0.0, 0.25, 0.35, 0.4])  # cheapest first: useless, rough, fine, exact
    choice._shares = [pi] * 3
    y = 5 + 3 * torch.randn(4000, 4, 6, 6)
    add = choice.network.perturb
    assert add is not None
    added = (add(0, y) - y) / y.std()
    stds = torch.tensor([ROUGH[c.choice.multiplier][0] for c in choice.mixtures["0"].candidates])  # type: ignore[union-attr]
    mean = 0.0 if corrected else float(pi @ stds)
    std = math.sqrt(float(pi @ stds**2)) * (1 if corrected else 2)
    for channel in range(3):  # negative factor of channel 1 included: before it, the mean has the other sign
        assert float(added[:, channel].mean()) == pytest.approx(mean, abs=0.01 * std)
        assert float(added[:, channel].std()) == pytest.approx(std, rel=0.02)
    assert float(added[:, 3].abs().max()) < 1e-4, "batch normalisation folds this channel to nothing"


def test_gradient_of_the_energy_is_the_softmax_s(normalised: Any, table: Table) -> None:
    model, traces, _ = normalised
    choice = DifferentiableChoice(model, traces, table, 1.0)
    mixtures = list(choice.mixtures.values())
    shares = [m.shares(0.7) for m in mixtures]
    choice.energy(shares).backward()
    for mixture, pi in zip(mixtures, shares, strict=True):
        pi = pi.detach()
        wanted = pi * (mixture.energy - pi @ mixture.energy) / 0.7
        torch.testing.assert_close(mixture.alpha.grad, wanted)
        assert float(pi.sum()) == pytest.approx(1.0)


def test_it_starts_with_little_noise(normalised: Any, table: Table) -> None:
    folding = foldings(normalised.model, normalised.traces)["7"]
    mixture = Mixture(table["7"], folding, ChoiceSettings(sigma_init=0.05))
    std = mixture.error(mixture.shares(1.0))[1].detach()
    assert 0.01 < float(std.square().mean().sqrt()) <= 0.05
    assert mixture.likeliest.choice.multiplier == "exact"  # type: ignore[union-attr]


def test_draws_are_gumbel_softmax(normalised: Any, table: Table) -> None:
    """At a low temperature a draw is one circuit, as often as its share at temperature 1 (Gumbel-max)."""
    mixture = Mixture(table["7"], foldings(normalised.model, normalised.traces)["7"], ChoiceSettings())
    mixture.alpha.data = torch.tensor([0.5, -1.0, 0.0, 1.0])
    random = torch.Generator().manual_seed(0)
    draws = torch.stack([mixture.shares(0.01, random).detach() for _ in range(4000)])
    assert float(draws.amax(1).mean()) > 0.98
    torch.testing.assert_close(draws.mean(0), mixture.shares(1.0).detach(), atol=0.03, rtol=0)


@pytest.mark.parametrize("draws", [False, True])
def test_the_price_of_energy_decides(normalised: Any, table: Table, draws: bool) -> None:
    model, traces, batches = normalised
    settings = ChoiceSettings(epochs=15, learning_rate=0.5, draws=draws)
    front = choose_differentiably(model, batches, traces, table, (0.0, 3.0, 1e5), settings)
    assert front.method == "differentiable"
    chosen = [{c.multiplier for c in p.assignment.layers.values()} for p in front]  # type: ignore[union-attr]
    assert chosen[0] <= {"rough", "useless"}, "at any price"
    assert "exact" in chosen[-1] and "useless" not in chosen[-1], "for nothing"
    assert front.points[0].energy <= 0.3 + 1e-9 < 0.6 < front.points[-1].energy


def test_a_resumed_choice_is_the_same_choice(normalised: Any, table: Table) -> None:
    model, traces, batches = normalised
    settings = ChoiceSettings(epochs=3, draws=True)
    whole = DifferentiableChoice(model, traces, table, 2.0, settings)
    losses = [whole.run_epoch(batches)]
    state = whole.state()
    losses += [whole.run_epoch(batches), whole.run_epoch(batches)]
    resumed = DifferentiableChoice(model, traces, table, 2.0, settings)
    resumed.load_state(state)
    assert [resumed.run_epoch(batches), resumed.run_epoch(batches)] == losses[1:]
    assert all(torch.equal(a, b) for a, b in zip(resumed.state().values(), whole.state().values(), strict=True))
    for missing in ("alpha.3", "random"):
        with pytest.raises(ValueError, match="no state of a differentiable choice"):
            resumed.load_state({k: v for k, v in state.items() if k != missing})


def test_the_model_stays_as_it_was(normalised: Any, table: Table) -> None:
    model, traces, batches = normalised
    before = {name: value.clone() for name, value in model.state_dict().items()}
    choice = DifferentiableChoice(model, traces, table, 1.0)
    weights = {name: value.clone() for name, value in choice.network.state_dict().items()}
    choice.run_epoch(batches)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, weights[name]) for name, value in choice.network.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_bad_data_are_refused(normalised: Any, table: Table) -> None:
    model, traces, batches = normalised
    images, labels = batches[0]
    choice = DifferentiableChoice(model, traces, table, 1.0)
    with pytest.raises(ValueError, match="yielded nothing"):
        choice.run_epoch([])
    with pytest.raises(ValueError, match=r"0\.\.2.*got 0\.\.9"):
        choice.run_epoch([(images, torch.tensor([9] + [0] * 31))])
    with pytest.raises(ValueError, match="loss is nan"):
        choice.run_epoch([(images * math.nan, labels)])
    with pytest.raises(ValueError, match="finite and >= 0, got -1"):
        DifferentiableChoice(model, traces, table, -1.0)
    with pytest.raises(ValueError, match=r"candidates of the traced layers \['0', '3', '7'\], got \['0'\]"):
        DifferentiableChoice(model, traces, {"0": table["0"]}, 1.0)
    with pytest.raises(ValueError, match="have no candidate of finite degradation"):
        DifferentiableChoice(model, traces, table | {"3": []}, 1.0)
    with pytest.raises(ValueError, match="at least one point"):
        choose_differentiably(model, batches, traces, table, ())
    with pytest.raises(ValueError, match="are > 0"):
        ChoiceSettings(temperatures=(1.0, 0.0))
