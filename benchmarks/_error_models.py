"""Rows of `benchmarks.selection` about the error models: how far a predicted std is from the true one.

A pair is a layer with a circuit in one weight coding and operand order; every pair of a network with the library is
judged, by |predicted / true - 1| of the root mean square over channels, without and with free correction. "same
patches" are those the model saw: what its assumptions cost, sampling left out. "other patches" come from validation
images: what a user of the prediction meets. "whole images" are all positions of validation images, the layer run
bit-exactly, for some pairs drawn at random.
"""

import copy
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from approx import Arithmetic, Choice, LayerTable, LayerTrace, QuantisedNetwork, layer_table, trace
from approx.layer import QuantLayer
from benchmarks._report import Row, at_most
from multipliers import Library
from noise_models import ERROR_MODELS, Degradation, ErrorPrediction, error_model, list_candidates
from noise_models.prediction import residual_variance
from picojoule.data import DataSplits

CALIBRATION = (1536, 256)  # images, batch
OTHER_PATCHES = 2048
WHOLE_IMAGES = 32
WHOLE_PAIRS = 120
ALL = "all codings"
GOALS = {"median": 0.05, "90th percentile": 0.12}
GOAL_CASE = ("patch-channel", "same patches", ALL, "with correction")
NEGLIGIBLE = 1e-6  # of the error: what correction leaves of one that is a multiple of the output is rounding

Pair = tuple[str, Choice]
Predictions = Mapping[Pair, ErrorPrediction]


@dataclass(frozen=True)
class _Unjudged(Degradation):
    """Candidates are listed for their predictions only."""

    def of(self, layer: str, prediction: ErrorPrediction) -> float:
        return 0.0


def error_model_rows(
    name: str, network: QuantisedNetwork, splits: DataSplits, library: Library, seeds: Sequence[int] = (0, 1, 2)
) -> Iterator[Row]:
    """Median and 90th percentile for every model and truth, on the same patches also by coding.

    Args:
        name: of network and library, for the rows.
        network: calibrated.
        splits: its data; the test images are not touched.
        library: 8x8 circuits.
        seeds: each decides which training and validation images, and which pairs see whole images. A row holds the
            mean over seeds, with the single ones beside it.
    """
    found = [dict(_figures(network, splits, library, seed)) for seed in seeds]
    for case in found[0]:
        values = [figures[case] for figures in found]
        goal = GOALS[case[-1]] if case[:-1] == GOAL_CASE else None
        beside = "seeds: " + " ".join(f"{value:.4f}" for value in values)
        yield at_most(f"{name}: {', '.join(case)}", statistics.mean(values), "of the true std", goal, beside)


def _figures(
    network: QuantisedNetwork, splits: DataSplits, library: Library, seed: int
) -> Iterator[tuple[tuple[str, ...], float]]:
    """((model, truth, coding, correction, statistic), value) of one seed."""
    seen = trace(network, splits.calibration_batches(*CALIBRATION, seed=seed))
    order = torch.randperm(len(splits.validation), generator=torch.Generator().manual_seed(seed))
    images = splits.validation.take(order[: CALIBRATION[0]])[:][0]
    predictions = {model: predict_all(seen, library, model) for model in ERROR_MODELS}
    other = predict_all(trace(network, images.split(CALIBRATION[1]), OTHER_PATCHES), library, "sampled")
    truths = {
        "same patches": predictions["sampled"],
        "other patches": other,
        "whole images": on_whole_images(network, images[:WHOLE_IMAGES], some(other, seed), library),
    }
    for (where, true), (model, predicted) in product(truths.items(), predictions.items()):
        if (model, where) == ("sampled", "same patches"):
            continue  # it is the truth
        for (coding, correction), values in misses(predicted, true).items():
            if where == "same patches" or coding == ALL:
                case = (model, where, coding, correction)
                yield (*case, "median"), statistics.median(values)
                yield (*case, "90th percentile"), float(np.percentile(values, 90))


def predict_all(traces: Mapping[str, LayerTrace], library: Library, model: str) -> dict[Pair, ErrorPrediction]:
    """What a model says of every pair."""
    listed = list_candidates(traces, library, error_model(model), _Unjudged())
    found = ((layer, c.choice, c.prediction) for layer, row in listed.items() for c in row)
    return {(layer, choice): prediction for layer, choice, prediction in found if isinstance(choice, Choice)}


def some(pairs: Predictions, seed: int) -> list[Pair]:
    """A few of the pairs that err, layer by layer."""
    erring = [pair for pair, prediction in pairs.items() if prediction.layer_std > 0]
    chosen = np.random.default_rng(seed).choice(len(erring), min(WHOLE_PAIRS, len(erring)), replace=False)
    return [erring[i] for i in sorted(chosen)]


def on_whole_images(
    network: QuantisedNetwork, images: torch.Tensor, pairs: Sequence[Pair], library: Library
) -> dict[Pair, ErrorPrediction]:
    """The true error over all positions, of layers whose input is the exact network's."""
    layers, inputs = network.layers(), {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, x, name=name: inputs.update({name: x[0]}))
        for name, layer in layers.items()
    ]
    with torch.no_grad(), network.using(Arithmetic.INTEGER):
        network(images)
        for hook in hooks:
            hook.remove()
        return {(name, choice): _true(layers[name], inputs[name], choice, library) for name, choice in pairs}


def _true(layer: QuantLayer, x: torch.Tensor, choice: Choice, library: Library) -> ErrorPrediction:
    layer = copy.deepcopy(layer)

    def response(table: LayerTable | None) -> torch.Tensor:
        layer.use_circuit(choice.multiplier, choice.operands, table)
        return layer.channels_last(layer.response(x)).flatten(0, -2).double()

    exact = response(None)
    error = response(layer_table(library[choice.multiplier], choice.operands, choice.swap)) - exact
    mean, exact = error.mean(0), exact - exact.mean(0)
    error -= mean
    output, variance, covariance = (
        (a * b).mean(0).numpy() for a, b in ((exact, exact), (error, error), (exact, error))
    )
    return ErrorPrediction(mean.numpy(), np.sqrt(variance), np.sqrt(residual_variance(output, variance, covariance)))


def misses(predicted: Predictions, true: Predictions) -> dict[tuple[str, str], list[float]]:
    """|predicted / true std - 1| by (coding, correction) of every pair whose true error is not constant."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (layer, choice), truth in true.items():
        guess = predicted[layer, choice]
        for correction, ours, theirs in (
            ("without correction", guess.layer_std, truth.layer_std),
            ("with correction", guess.layer_residual_std, truth.layer_residual_std),
        ):
            if theirs > NEGLIGIBLE * truth.layer_std:
                for coding in (choice.operands.value, ALL):
                    found[coding, correction].append(abs(ours / theirs - 1))
    return found
