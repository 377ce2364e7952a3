"""How faithful criteria are: their scores beside what the loss truly does when a single channel goes.

Molchanov, Mallya, Tyree, Frosio, Kautz (CVPR 2019, abstract) say "> 93 %" of the correlation of their estimate, the
gate's squared gradient, with the true importance, on ResNets and ImageNet. Here: their definition of it (eq. 2), the
squared change of the loss when the channel is zeroed, CIFAR-10 training images other than those the criterion sees, and
the rank correlation over all channels. A channel of a residual stream goes out of all its blocks.
"""

import statistics
from collections.abc import Iterator, Mapping

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

import pruning
from benchmarks._pruning_methods import Batches, seen
from benchmarks._report import Row, at_least
from picojoule.progress import track
from pruning.gates import gated

PUBLISHED = 0.93


def true_importance(grouping: pruning.Grouping, batches: Batches) -> Tensor:
    """(E − E without the channel)², E the mean cross-entropy over all batches (eq. 2): float64 [units]."""
    factors = torch.ones(grouping.units)
    whole, changes = _loss(grouping, batches, factors), []
    for unit in track(range(grouping.units), "channels left out"):
        factors[unit] = 0
        changes.append(_loss(grouping, batches, factors) - whole)
        factors[unit] = 1
    return torch.tensor(changes, dtype=torch.float64).square()


def _loss(grouping: pruning.Grouping, batches: Batches, factors: Tensor) -> float:
    total, count = 0.0, 0
    with torch.no_grad():
        for images, labels in batches:
            (output,) = gated(grouping, (images,), factors)
            total += float(nn.functional.cross_entropy(output.double(), labels, reduction="sum"))
            count += len(images)
    return total / count


def scores(grouping: pruning.Grouping, batches: Batches, criterion: str) -> Tensor:
    """Of every unit in the order of units; of a criterion that orders units, their places: float64 [units]."""
    judge = pruning.criterion(criterion)
    found = judge.score(grouping, seen(criterion, batches) if judge.needs_data else None, nn.functional.cross_entropy)
    return torch.cat([found[group.name] for group in grouping.groups])


def agreement(grouping: pruning.Grouping, found: Tensor, truth: Tensor) -> dict[str, float]:
    """Rank correlations of two values a unit: over all of them, and the mean of those within groups."""
    pairs = zip(grouping.split(found).values(), grouping.split(truth).values(), strict=True)
    within = statistics.mean(_rank_correlation(*pair) for pair in pairs)
    return {"everywhere": _rank_correlation(found, truth), "within": within}


def _rank_correlation(first: Tensor, second: Tensor) -> float:
    return float(spearmanr(first.numpy(), second.numpy()).statistic)


def fidelity_rows(network: str, found: Mapping[str, Mapping[str, float]]) -> Iterator[Row]:
    """Of every criterion by name its agreement, the best first."""
    for name, agreed in sorted(found.items(), key=lambda pair: -pair[1]["everywhere"]):
        case = f"{network}, {name}: rank correlation of the scores with the true squared change of the loss"
        published = f"; published: above {PUBLISHED:.0%}, ResNets on ImageNet" if name == "taylor" else ""
        goal, beside = PUBLISHED if published else None, f"within groups {agreed['within']:.3f}{published}"
        yield at_least(case, agreed["everywhere"], "", goal, beside)
