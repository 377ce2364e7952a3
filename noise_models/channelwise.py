"""A circuit for each output channel: mixed candidates of a layer, beside those with one circuit for all its channels.

An error hurts in some channels more than in others, and so does a circuit: both the loss' sensitivity F_c and the
residual std sigma_c of a circuit differ by orders of magnitude between channels. As degradation adds up over channels
and multiplication energy splits evenly, a layer is a knapsack of its own. At a price beta of degradation each channel
takes the circuit of least energy / C + beta * degradation_c; the choices of some dozen prices, spread over those at
which a channel changes its circuit, join the layer's candidates. `selection.knapsack` then mixes layers as before, and
its front is never worse, because nothing was taken away.

With at most k circuits in a layer, the k are those that, added one by one, lower energy + beta * degradation the most
(greedy facility location: Nemhauser, Wolsey and Fisher, Mathematical Programming 14, 1978).

All circuits of a layer share weight coding and operand order, see `approx.ChannelChoice`.
"""

from collections.abc import Sequence
from itertools import groupby
from statistics import fmean

import numpy as np
import numpy.typing as npt

from approx import ChannelChoice, Choice, LayerChoice, LayerTrace, layer_table
from multipliers import Multiplier
from noise_models.candidates import Candidate, Candidates, undominated
from noise_models.degradation import Degradation
from noise_models.error_models import ErrorModel
from noise_models.prediction import ErrorPrediction, FloatArray
from noise_models.selection.hull import lower_hull, slopes

PRICES = 32


def with_channel_choices(
    candidates: Candidates, degradation: Degradation, *, circuits: int | None = None, prices: int = PRICES
) -> dict[str, list[Candidate]]:
    """The candidates, and beside them those with several circuits in a layer that none of them equals or beats.

    Args:
        candidates: of one circuit for a whole layer, all circuits of equal widths, from `list_candidates`.
        degradation: that they were judged by; it must be a sum over channels.
        circuits: at most so many different ones in a layer; None for any number.
        prices: of degradation that are tried, for each weight coding and operand order of a layer.

    Raises:
        ValueError: the degradation is no sum over channels, or `circuits` or `prices` is less than one.
    """
    if prices < 1 or (circuits is not None and circuits < 1):
        raise ValueError(f"expected at least one price and circuit a layer, got prices={prices}, circuits={circuits}")
    return {
        name: sorted([*row, *_mixed(name, row, degradation, circuits, prices)], key=lambda c: (c.energy, c.degradation))
        for name, row in candidates.items()
    }


def predict_choice(
    trace: LayerTrace, circuits: Sequence[Multiplier], choice: LayerChoice, model: ErrorModel
) -> ErrorPrediction:
    """The error of a layer with the circuits of a choice.

    Args:
        trace: of the layer.
        circuits: one for the whole layer, or one for each output channel, as `Assignment.circuits` gives them.
        choice: how operands reach them.
        model: predicts it for one circuit.
    """
    none = ErrorPrediction.none(trace.channels)
    tables = {c.name: layer_table(c, choice.operands, choice.swap) for c in circuits}
    known = {n: none if t.exact else model.predict(trace, choice.operands, t) for n, t in tables.items()}
    return known[circuits[0].name] if isinstance(choice, Choice) else _joined([known[c.name] for c in circuits])


def _joined(predictions: Sequence[ErrorPrediction]) -> ErrorPrediction:
    """The error of a layer whose channel c has the circuit of the c-th of C predictions."""
    channels = range(len(predictions))
    moments = [[getattr(predictions[c], key)[c] for c in channels] for key in ("mean", "std", "residual_std")]
    return ErrorPrediction(*(np.array(values) for values in moments))


def _mixed(
    name: str, row: Sequence[Candidate], degradation: Degradation, circuits: int | None, prices: int
) -> list[Candidate]:
    def way(candidate: Candidate) -> tuple[str, bool, int]:
        return candidate.choice.operands.value, candidate.choice.swap, candidate.bits

    one = sorted((c for c in row if isinstance(c.choice, Choice)), key=way)
    found = [m for _, alike in groupby(one, way) for m in _mixtures(name, list(alike), degradation, circuits, prices)]
    known = {id(c) for c in row}
    return [c for c in undominated([*row, *found]) if id(c) not in known]


def _mixtures(
    name: str, row: list[Candidate], degradation: Degradation, circuits: int | None, prices: int
) -> list[Candidate]:
    """Of candidates with equal coding, order and bits."""
    energy = np.array([c.energy for c in row]) / len(row[0].prediction.std)
    hurt = np.stack([degradation.by_channel(name, c.prediction) for c in row])  # [M, C]
    found = {}
    for price in _prices(energy, hurt, prices):
        chosen = _cheapest(energy[:, None] + price * hurt, circuits)
        if len(set(chosen)) > 1:
            channels = hurt[list(chosen), np.arange(len(chosen))]
            found[chosen] = _candidate([row[m] for m in chosen], float(channels.sum()))
    return list(found.values())


def _prices(energy: FloatArray, hurt: FloatArray, count: int) -> FloatArray:
    """Prices of degradation from below the first to above the last at which some channel changes its circuit.

    They are spread evenly over the changes, not over the prices.
    """
    changes: list[float] = []
    for column in hurt.T:
        order = np.lexsort((column, energy))
        better = order[_falls(column[order])]
        points = list(zip(energy[better].tolist(), column[better].tolist(), strict=True))
        steps = slopes([points[i] for i in lower_hull(points)])
        changes += [1 / step for step in steps]
    below = min(changes, default=1.0) / 2  # not 0: of circuits that need the same energy the better ones
    return np.quantile([below, *changes], np.linspace(0, 1, count)) * (1 + 1e-9)


def _falls(values: FloatArray) -> npt.NDArray[np.bool_]:
    """Which finite values are less than all before them."""
    before = np.concatenate([[np.inf], np.minimum.accumulate(values)[:-1]])
    return values < before


def _cheapest(cost: FloatArray, circuits: int | None) -> tuple[int, ...]:
    """The row of each column's least cost [M, C], from at most so many rows."""
    if circuits is None:
        return tuple(cost.argmin(0).tolist())
    rows: list[int] = []
    least = np.full(cost.shape[1], np.inf)
    while len(rows) < min(circuits, len(cost)):
        rows.append(int(np.minimum(least, cost).sum(1).argmin()))
        least = np.minimum(least, cost[rows[-1]])
    return tuple(np.array(rows)[cost[rows].argmin(0)].tolist())


def _candidate(of_channel: list[Candidate], degradation: float) -> Candidate:
    first = of_channel[0].choice
    return Candidate(
        choice=ChannelChoice(tuple(c.choice.multiplier for c in of_channel), first.operands, first.swap),
        energy=fmean(c.energy for c in of_channel),
        degradation=degradation,
        prediction=_joined([c.prediction for c in of_channel]),
        bits=of_channel[0].bits,
    )
