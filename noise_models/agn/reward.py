"""What a search earns by bearing noise: the second term of its loss, and how sigma is parametrised for it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from approx import LayerTrace
from noise_models.agn.folding import LayerFolding
from noise_models.agn.settings import AgnSettings
from noise_models.candidates import Candidates
from noise_models.selection.hull import choosable, lower_hull


class Reward(ABC):
    """Abstract.

    Attributes:
        name: method that a `Tolerance` found with it carries.
    """

    name: str

    @abstractmethod
    def start(self, sigma: torch.Tensor) -> torch.Tensor:
        """Values of the trained parameter [L] that stand for relative stds [L] > 0."""

    @abstractmethod
    def sigma(self, parameter: torch.Tensor) -> torch.Tensor:
        """Factor of the noise [L] from the trained parameter [L]; its size is the relative std."""

    @abstractmethod
    def optimiser(self, parameter: nn.Parameter, settings: AgnSettings) -> torch.optim.Optimizer:
        """What trains the parameter."""

    @abstractmethod
    def price(self, sigma: torch.Tensor) -> torch.Tensor:
        """What the loss function pays for these factors, scalar; it falls as they grow."""


class CappedReward(Reward):
    """The published one: -Σ_l c_l min(|sigma_l|, sigma_max), c_l the layer's share of the multiplications.

    sigma is the parameter itself and not kept positive: it may cross zero, and |sigma| counts.
    """

    name = "agn"

    def __init__(self, traces: Mapping[str, LayerTrace], sigma_max: float) -> None:
        macs = torch.tensor([float(trace.macs) for trace in traces.values()])
        self.shares, self.sigma_max = macs / macs.sum(), sigma_max

    def start(self, sigma: torch.Tensor) -> torch.Tensor:
        return sigma.clone()

    def sigma(self, parameter: torch.Tensor) -> torch.Tensor:
        return parameter

    def optimiser(self, parameter: nn.Parameter, settings: AgnSettings) -> torch.optim.Optimizer:
        return torch.optim.SGD([parameter], lr=settings.learning_rate, momentum=settings.momentum)

    def price(self, sigma: torch.Tensor) -> torch.Tensor:
        size = sigma.abs()
        earned = torch.where(size < self.sigma_max, size, self.sigma_max)
        return -(self.shares.to(sigma.device) * earned).sum()


class EnergyReward(Reward):
    """Ours (papers/approximate_networks.md §8): Σ_l phi_l(sigma_l), the energy of the circuits that sigma_l allows.

    phi_l is the lower convex envelope of the layer's own candidates (relative std of the predicted error, energy). The
    published reward takes every layer to save alike with growing noise; phi_l knows where the next cheaper circuit is
    and that beyond the cheapest one there is nothing to gain. log sigma_l is the parameter and Adam trains it, so that
    layers of very different tolerance move alike (with SGD at the rate of the weights it hardly moves).

    Attributes:
        pieces: by layer, slope and offset [2, K] of the lines whose maximum phi_l is.
    """

    name = "agn-energy"

    def __init__(self, candidates: Candidates, folding: Mapping[str, LayerFolding]) -> None:
        """Args:
        candidates: of every layer; energies add up over layers.
        folding: of the same layers, in the search's order (`AgnSearch.folding`).

        Raises:
            ValueError: a layer has no candidate.
        """
        rows = choosable({name: candidates.get(name, ()) for name in folding})
        self.pieces = [
            _pieces([(folding[name].relative_std(c.prediction), c.energy) for c in row]) for name, row in rows.items()
        ]

    def start(self, sigma: torch.Tensor) -> torch.Tensor:
        return sigma.log()

    def sigma(self, parameter: torch.Tensor) -> torch.Tensor:
        return parameter.exp()

    def optimiser(self, parameter: nn.Parameter, settings: AgnSettings) -> torch.optim.Optimizer:
        return torch.optim.Adam([parameter], lr=settings.log_rate)

    def price(self, sigma: torch.Tensor) -> torch.Tensor:
        each = [
            (slope * s + offset).max()
            for s, (slope, offset) in zip(sigma, (p.to(sigma.device) for p in self.pieces), strict=True)
        ]
        return torch.stack(each).sum()


def _pieces(points: list[tuple[float, float]]) -> torch.Tensor:
    """Slopes and offsets [2, K] of the lower convex envelope of (std, energy), level from its lowest point on."""
    falling: list[tuple[float, float]] = []
    for std, energy in sorted(points):
        if not falling or energy < falling[-1][1]:
            falling.append((std, energy))
    corners = np.array([falling[i] for i in lower_hull(falling)])
    slopes = np.append(np.diff(corners[:, 1]) / np.diff(corners[:, 0]), 0.0)
    return torch.tensor(np.stack([slopes, corners[:, 1] - slopes * corners[:, 0]]), dtype=torch.float32)
