"""Circuits that leave more noise than signal are no bargain, however sure the network is."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from approx import Assignment, Choice, correct, layer_moments
from multipliers import Library, default_library
from noise_models import (
    FisherDegradation,
    Limits,
    error_model,
    list_candidates,
    measure_sensitivity,
    uniform,
    without_drowned,
)
from noise_models.candidates import Candidate
from noise_models.drowning import LARGEST_SHARE, noise_share

LIBRARY = Library([c for name, c in default_library().items() if name.startswith("mul8u")])


@pytest.fixture(scope="module")
def candidates(small: Any) -> dict[str, list[Candidate]]:
    judge = FisherDegradation(measure_sensitivity(small.network, small.images))
    return list_candidates(small.traces, LIBRARY, error_model("sampled"), judge)


def test_what_is_kept_is_heard_and_what_is_not_is_drowned(small: Any, candidates: dict[str, list[Candidate]]) -> None:
    kept = without_drowned(candidates, small.traces)
    for name, row in candidates.items():
        gone = [c for c in row if c not in kept[name]]
        assert gone and kept[name] == [c for c in row if c in kept[name]]
        assert all(noise_share(c, small.traces[name]) <= LARGEST_SHARE for c in kept[name])
        assert all(noise_share(c, small.traces[name]) > LARGEST_SHARE for c in gone)


def test_the_share_is_that_of_the_corrected_layer(small: Any, candidates: dict[str, list[Candidate]]) -> None:
    """The first layer with each of ten circuits, its response measured."""
    images, name = torch.cat(small.images), next(iter(small.network.layers()))
    wanted = small.network.layers()[name].response(images)
    moments = layer_moments(small.network, images)
    for candidate in candidates[name][::30]:
        network = copy.deepcopy(small.network).assign(Assignment({name: candidate.choice}), LIBRARY)
        layer = correct(network, images, moments).layers()[name]
        noise = (layer.response(images) - wanted).var((0, 2, 3)).mean()
        share = float(noise / wanted.var((0, 2, 3)).mean())
        assert noise_share(candidate, small.traces[name]) == pytest.approx(share, rel=0.35, abs=0.02)


def test_of_a_layer_that_drowns_anyhow_the_best_remains(small: Any, candidates: dict[str, list[Candidate]]) -> None:
    hopeless = {
        name: [c for c in row if noise_share(c, small.traces[name]) > LARGEST_SHARE] for name, row in candidates.items()
    }
    for name, row in hopeless.items():
        least = min(noise_share(c, small.traces[name]) for c in row)
        kept = without_drowned({name: row}, small.traces)[name]
        assert kept and all(noise_share(c, small.traces[name]) == least for c in kept)


def test_one_circuit_for_all_layers_remains(small: Any, candidates: dict[str, list[Candidate]]) -> None:
    """Two circuits, each of which drowns another layer."""
    first, second, *_ = candidates
    two: dict[str, list[Candidate]] = {}
    for name, heard in ((first, "a"), (second, "b")):
        best, worst = (pick(candidates[name], key=lambda c: noise_share(c, small.traces[name])) for pick in (min, max))
        named = {heard: best, "ba".replace(heard, ""): worst}
        two[name] = [replace(c, choice=Choice(circuit)) for circuit, c in sorted(named.items())]
    shares = {n: {c.choice.multiplier: noise_share(c, small.traces[n]) for c in row} for n, row in two.items()}
    assert min(shares[first]["b"], shares[second]["a"]) > LARGEST_SHARE >= max(shares[first]["a"], shares[second]["b"])
    kept = without_drowned(two, small.traces)
    quieter = "a" if shares[second]["a"] < shares[first]["b"] else "b"
    assert [p.assignment.layers[first].multiplier for p in uniform(kept)] == [quieter]
    assert sum(map(len, kept.values())) == 3


def test_pinned_circuits_stay(small: Any, candidates: dict[str, list[Candidate]]) -> None:
    first, *others = candidates
    worst = max(candidates[first], key=lambda c: noise_share(c, small.traces[first])).choice.multiplier
    limits = Limits(pins={first: worst})
    kept = without_drowned(candidates, small.traces, limits)
    assert kept[first] == candidates[first] and limits.rows(kept)
    assert all(len(kept[name]) < len(candidates[name]) for name in others)
    with pytest.raises(ValueError, match="pins: .*nowhere"):
        without_drowned(candidates, small.traces, Limits(pins={"nowhere": worst}))


def test_a_layer_without_signal_drowns_in_nothing(small: Any, candidates: dict[str, list[Candidate]]) -> None:
    silent = {
        name: replace(trace, channel_std=np.zeros_like(trace.channel_std)) for name, trace in small.traces.items()
    }
    assert without_drowned(candidates, silent) == {name: list(row) for name, row in candidates.items()}
