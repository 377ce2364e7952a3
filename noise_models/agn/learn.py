"""`learn_tolerance`: a whole AGN search."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from approx import LayerTrace
from noise_models.agn.reward import Reward
from noise_models.agn.search import AgnSearch, Batch, EpochLoss, State
from noise_models.agn.settings import AgnSettings
from noise_models.progress import Progress
from noise_models.tolerance import Tolerance


@dataclass(frozen=True, eq=False)
class AgnResult:
    """What a search found.

    Attributes:
        tolerance: of every layer of the quantised network.
        history: losses by epoch.
        model: the floating-point copy whose weights were trained along, in evaluation mode.
    """

    tolerance: Tolerance
    history: tuple[EpochLoss, ...]
    model: nn.Module


def learn_tolerance(
    model: nn.Module,
    batches: Iterable[Batch],
    traces: Mapping[str, LayerTrace],
    settings: AgnSettings | None = None,
    reward: Reward | None = None,
    *,
    state: Mapping[str, torch.Tensor] | None = None,
    save: Callable[[State], None] | None = None,
    progress: Progress | None = None,
) -> AgnResult:
    """A whole search.

    Args:
        model: floating point, batch normalisation and all; it is not changed, the result holds a trained copy.
        batches: iterated once per epoch; images [N, C, H, W], labels int64 [N].
        traces: of all layers of the model, quantised (`approx.trace`).
        settings: hyper-parameters; `PUBLISHED` has those of published networks.
        reward: `EnergyReward`, or None for the published one.
        state: go on from here.
        save: called with the state after every epoch.
        progress: called with (steps done, steps of all epochs or 0 when unknown, text).

    Raises:
        ValueError: as `AgnSearch`.
    """
    search = AgnSearch(model, traces, settings, reward)
    if state is not None:
        search.load_state(state)
    while not search.finished:
        search.run_epoch(batches, progress)
        if save is not None:
            save(search.state())
    return AgnResult(search.tolerance(), tuple(search.history), search.network.model.eval())
