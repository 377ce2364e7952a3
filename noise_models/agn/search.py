"""The search: SGD trains the weights and the noise together.

In training every layer's output y before the bias, and so before batch normalisation, becomes

    y~ = y + eps * std(y) * sigma_l          eps ~ N(0, 1) per element, std over the whole batch tensor, not detached

and SGD with momentum minimises L = CE + lambda * price(sigma), with the published price -Σ_l c_l min(|sigma_l|,
sigma_max). Validation is without noise. Source: papers/approximate_networks.md §1.
"""

import math
from collections.abc import Iterable, Mapping, Sized
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from approx import LayerTrace
from approx.training import check_labels
from noise_models.agn.folding import foldings
from noise_models.agn.injection import InjectedNetwork
from noise_models.agn.reward import CappedReward, Reward
from noise_models.agn.settings import AgnSettings
from noise_models.optimiser_state import load_optimiser_tensors, optimiser_tensors
from noise_models.progress import Progress
from noise_models.tolerance import Tolerance

Batch = tuple[torch.Tensor, torch.Tensor]
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class EpochLoss:
    """Means over an epoch's batches: the loss that is minimised, and its cross entropy alone."""

    loss: float
    cross_entropy: float


class AgnSearch:
    """One search; its state can be saved after any epoch and taken up again.

    Attributes:
        network: a copy of the model given, in 8 bits; noise in training mode only.
        parameter: [L], sigma as the reward parametrises it, by layer in execution order.
        history: one entry per epoch done.
    """

    def __init__(
        self,
        model: nn.Module,
        traces: Mapping[str, LayerTrace],
        settings: AgnSettings | None = None,
        reward: Reward | None = None,
    ) -> None:
        """Copies the model.

        Args:
            model: floating point, batch normalisation and all; it is not changed.
            traces: of all layers of the model, quantised.
            settings: hyper-parameters.
            reward: `CappedReward`, the published one, when None.

        Raises:
            ValueError: the traces are not the model's, see `InjectedNetwork`.
        """
        self.settings = settings or AgnSettings()
        self.reward = reward or CappedReward(traces, self.settings.sigma_max)
        self.network = InjectedNetwork(model, traces)
        self.folding = foldings(model, traces)
        start = torch.full((len(traces),), self.settings.sigma_init)
        device = next(model.parameters()).device
        self.network.to(device)
        self.parameter = nn.Parameter(self.reward.start(start).to(device))
        self.random = torch.Generator(device).manual_seed(self.settings.seed)
        self.network.perturb = self._add_noise
        weights: list[dict[str, Any]] = [
            {"params": list(self.network.model.parameters()), "weight_decay": self.settings.weight_decay},
            {"params": [self.network.clip]},
        ]
        self.optimisers = {
            "weights": torch.optim.SGD(weights, lr=self.settings.learning_rate, momentum=self.settings.momentum),
            "sigma": self.reward.optimiser(self.parameter, self.settings),  # published: the same SGD
        }
        self.history: list[EpochLoss] = []

    @property
    def sigma(self) -> torch.Tensor:
        """Factor of the noise [L]."""
        return self.reward.sigma(self.parameter)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.settings.epochs

    def run_epoch(self, batches: Iterable[Batch], progress: Progress | None = None) -> EpochLoss:
        """One pass over the training data; the network is in evaluation mode afterwards.

        Args:
            batches: images [N, C, H, W] and labels int64 [N].
            progress: called with (steps done, steps of all epochs or 0 when unknown, text) after every step.

        Raises:
            ValueError: the loader yields nothing, a label is out of range, or the loss is not finite.
        """
        self.network.train()
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * self.settings.decay(self.epoch)
        steps = len(batches) if isinstance(batches, Sized) else 0
        losses = []
        for images, labels in batches:
            losses.append(self._step(images, labels))
            if not math.isfinite(losses[-1].loss):
                raise ValueError(
                    f"AGN: the loss is {losses[-1].loss} in epoch {self.epoch + 1}, step {len(losses)}; check the "
                    f"images for NaN, or lower learning_rate ({self.settings.learning_rate:g}) or sigma_init "
                    f"({self.settings.sigma_init:g})"
                )
            if progress is not None:
                done = self.epoch * steps + len(losses)
                progress(done, self.settings.epochs * steps, f"tolerance, loss {losses[-1].loss:.4f}")
        if not losses:
            raise ValueError(f"AGN needs at least one batch, the loader yielded nothing in epoch {self.epoch + 1}")
        self.network.eval()
        count = len(losses)
        self.history.append(
            EpochLoss(sum(e.loss for e in losses) / count, sum(e.cross_entropy for e in losses) / count)
        )
        return self.history[-1]

    def tolerance(self) -> Tolerance:
        """What each layer of the quantised network bears by now."""
        sigma = self.sigma.detach().abs().double().tolist()
        layers = {name: fold.tolerance(s) for s, (name, fold) in zip(sigma, self.folding.items(), strict=True)}
        return Tolerance(self.reward.name, {**asdict(self.settings), "epochs_done": self.epoch}, layers)

    def loss(self, scores: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss and its cross entropy."""
        cross_entropy = F.cross_entropy(scores, labels)
        return cross_entropy + self.settings.strength * self.reward.price(self.sigma), cross_entropy

    def state(self) -> State:
        """Everything needed to go on, as plain tensors; torch's global random state is for dropout."""
        history = torch.tensor([[e.loss, e.cross_entropy] for e in self.history], dtype=torch.float64)
        return {
            "history": history.reshape(-1, 2),
            "random": self.random.get_state(),
            "global_random": torch.get_rng_state(),
            "parameter": self.parameter.detach().clone(),
            **{f"{k}.{name}": t for k, o in self.optimisers.items() for name, t in optimiser_tensors(o).items()},
            **{f"network.{name}": value.clone() for name, value in self.network.state_dict().items()},
        }

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `state` gave; torch's global random state is restored with it.

        Raises:
            ValueError: it is the state of another network.
        """
        network = {k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")}
        wanted = {name: value.shape for name, value in self.network.state_dict().items()}
        if {name: value.shape for name, value in network.items()} != wanted or "global_random" not in state:
            raise ValueError(
                f"this is no state of an AGN search over the {len(self.parameter)} layers of this network; "
                "start without it"
            )
        self.network.load_state_dict(network)
        self.parameter.data.copy_(state["parameter"])
        self.random.set_state(state["random"])
        torch.set_rng_state(state["global_random"])
        self.history = [EpochLoss(*row) for row in state["history"].tolist()]
        for key, optimiser in self.optimisers.items():
            own = {name.removeprefix(f"{key}."): value for name, value in state.items() if name.startswith(f"{key}.")}
            load_optimiser_tensors(optimiser, own)

    def _add_noise(self, index: int, response: torch.Tensor) -> torch.Tensor:
        if not self.network.training:
            return response
        noise = torch.randn(response.shape, generator=self.random, dtype=response.dtype, device=response.device)
        return response + noise * (response.std() * self.sigma[index])

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> EpochLoss:
        device = self.parameter.device
        images, labels = images.to(device), labels.to(device)
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)
        scores = self.network(images)
        check_labels(labels, scores)
        loss, cross_entropy = self.loss(scores, labels)
        loss.backward()
        for optimiser in self.optimisers.values():
            optimiser.step()
        return EpochLoss(float(loss.detach()), float(cross_entropy.detach()))
