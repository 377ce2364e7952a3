"""The choice for one price of energy, and the front over prices; equations in the package's docstring."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from approx import LayerTrace
from approx.training import check_labels
from noise_models.agn import InjectedNetwork, foldings
from noise_models.agn.injection import along_channels, layer_weights
from noise_models.candidates import Candidates
from noise_models.differentiable.mixture import Mixture
from noise_models.differentiable.settings import ChoiceSettings
from noise_models.optimiser_state import load_optimiser_tensors, optimiser_tensors
from noise_models.selection import Front, FrontPoint
from noise_models.selection.hull import choosable

Batch = tuple[torch.Tensor, torch.Tensor]
State = dict[str, torch.Tensor]


class DifferentiableChoice:
    """One choice for all layers at one price of energy; its state can be saved after any epoch and taken up again.

    Attributes:
        network: a copy of the model in 8 bits, in evaluation mode, its weights fixed.
        mixtures: of each layer, by name, the candidates that no other beats.
        epoch: epochs done.
    """

    def __init__(
        self,
        model: nn.Module,
        traces: Mapping[str, LayerTrace],
        candidates: Candidates,
        strength: float,
        settings: ChoiceSettings | None = None,
    ) -> None:
        """Copies the model.

        Args:
            model: floating point; it is not changed.
            traces: of all layers of the model, quantised.
            candidates: of the same layers.
            strength: loss in nats that one unit of energy is worth.
            settings: hyper-parameters.

        Raises:
            ValueError: traces, candidates and model do not fit together, or the strength is negative.
        """
        if not 0 <= strength < math.inf:
            raise ValueError(f"the price of energy must be finite and >= 0, got {strength!r}")
        if set(candidates) != set(traces):
            raise ValueError(f"expected candidates of the traced layers {list(traces)}, got {list(candidates)}")
        self.settings, self.strength = settings or ChoiceSettings(), strength
        self.network = InjectedNetwork(model, traces).eval().requires_grad_(False)
        rows, folding = choosable({name: candidates[name] for name in traces}), foldings(model, traces)
        self.mixtures = {name: Mixture(row, folding[name], self.settings) for name, row in rows.items()}
        self._layers, self._weights = list(self.mixtures.values()), layer_weights(model, traces)
        self._shares: list[torch.Tensor] = []
        self.optimiser = torch.optim.Adam([mixture.alpha for mixture in self._layers], lr=self.settings.learning_rate)
        self.random = torch.Generator().manual_seed(self.settings.seed)
        self.epoch = 0
        self.network.perturb = self._add_errors

    def energy(self, shares: Sequence[torch.Tensor]) -> torch.Tensor:
        """Σ_l Σ_m pi_m energy_m, scalar, of pi [M] for every layer."""
        return torch.stack([pi @ mixture.energy for pi, mixture in zip(shares, self._layers, strict=True)]).sum()

    def run_epoch(self, batches: Iterable[Batch]) -> float:
        """One pass over the data; returns the mean loss.

        Args:
            batches: images [N, C, H, W] and labels int64 [N].

        Raises:
            ValueError: the loader yields nothing, a label is out of range, or the loss is not finite.
        """
        losses = [self._step(images, labels) for images, labels in batches]
        if not losses:
            raise ValueError(f"the choice needs at least one batch, the loader yielded nothing in epoch {self.epoch}")
        self.epoch += 1
        return math.fsum(losses) / len(losses)

    def point(self) -> FrontPoint:
        """The likeliest candidate of every layer."""
        return FrontPoint.of({name: mixture.likeliest for name, mixture in self.mixtures.items()})

    def state(self) -> State:
        """Everything needed to go on, as plain tensors."""
        alphas = {f"alpha.{name}": mixture.alpha.detach().clone() for name, mixture in self.mixtures.items()}
        own = {"epoch": torch.tensor(self.epoch), "random": self.random.get_state()}
        return {**own, **alphas, **optimiser_tensors(self.optimiser)}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `state` gave.

        Raises:
            ValueError: it is the state of a choice among other candidates.
        """
        alphas = {f"alpha.{name}": mixture.alpha for name, mixture in self.mixtures.items()}
        fits = all(name in state and state[name].shape == alpha.shape for name, alpha in alphas.items())
        if not fits or not {"epoch", "random"} <= state.keys():
            raise ValueError("this is no state of a differentiable choice among these candidates; start without it")
        for name, alpha in alphas.items():
            alpha.data.copy_(state[name])
        load_optimiser_tensors(self.optimiser, state)
        self.random.set_state(state["random"])
        self.epoch = int(state["epoch"])

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        self.optimiser.zero_grad(set_to_none=True)
        temperature, random = self.settings.temperature(self.epoch), self.random if self.settings.draws else None
        self._shares = [mixture.shares(temperature, random) for mixture in self._layers]
        scores = self.network(images)
        check_labels(labels, scores)
        loss = F.cross_entropy(scores, labels) + self.strength * self.energy(self._shares)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ValueError(f"differentiable choice: the loss is {value}; check the images for NaN")
        loss.backward()
        self.optimiser.step()
        return value

    def _add_errors(self, index: int, response: torch.Tensor) -> torch.Tensor:
        """y~ of one layer."""
        mean, std = self._layers[index].error(self._shares[index])
        weight = self._weights[index]
        noise = torch.randn(response.shape, generator=self.random, dtype=response.dtype)
        error = along_channels(mean, weight) + noise * along_channels(std, weight)
        return response + response.std().detach() * error


def choose_differentiably(
    model: nn.Module,
    batches: Iterable[Batch],
    traces: Mapping[str, LayerTrace],
    candidates: Candidates,
    strengths: Iterable[float],
    settings: ChoiceSettings | None = None,
) -> Front:
    """One choice for every price of energy.

    Args:
        model: floating point; it is not changed.
        batches: iterated once per epoch and price; images [N, C, H, W], labels int64 [N].
        traces: of all layers of the model, quantised.
        candidates: of the same layers, as `list_candidates` gives them.
        strengths: prices, loss in nats per unit of energy; each gives one point.
        settings: hyper-parameters.

    Returns:
        The front of the choices; their degradation is the candidates' own.

    Raises:
        ValueError: as `DifferentiableChoice`; there is no price.
    """
    points = []
    for strength in strengths:
        choice = DifferentiableChoice(model, traces, candidates, strength, settings)
        while choice.epoch < choice.settings.epochs:
            choice.run_epoch(batches)
        points.append(choice.point())
    return Front.of("differentiable", points)
