"""AGN: learns how much error each layer bears, by training with additive Gaussian noise.

Source: Trommer et al., "Combining gradients and probabilities for heterogeneous approximation of neural networks",
ICCAD 2022; equations and hyper-parameters from papers/approximate_networks.md §1. In training every layer's output y
before the bias becomes

    y~ = y + eps * std(y) * sigma_l          eps ~ N(0, 1) per element, std over the whole batch tensor, not detached

and one SGD with momentum trains the weights and the sigmas together on

    L = CE - strength * Σ_l c_l min(|sigma_l|, sigma_max)          c_l = share of the multiplications

sigma is not kept positive: it may cross zero, and |sigma| counts. Batch normalisation is folded here (it follows the
layer's bias in the paper's networks), so the published learning rate of 0.1 does not carry over: on ResNet-20
(CIFAR-10) already 0.01 diverges and 0.001 trains.
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from approx import Arithmetic, LayerTrace, QuantisedNetwork
from noise_models.progress import Progress
from noise_models.sensitivity import check_labels
from noise_models.tolerance import LayerTolerance, Tolerance

Batch = tuple[torch.Tensor, torch.Tensor]
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class AgnSettings:
    """Hyper-parameters; defaults are the paper's but for the learning rate and the length (see the module).

    Attributes:
        strength: lambda, the price of not bearing noise.
        sigma_max: relative std beyond which more tolerance earns nothing.
        sigma_init: relative std to start from.
        epochs: passes over the loader.
        learning_rate, momentum, weight_decay: of SGD; weight decay is for the weights only.
        decay_every: epochs after which the learning rate is divided by ten; 0 for never.
        seed: of the noise.
    """

    strength: float = 0.2
    sigma_max: float = 0.5
    sigma_init: float = 0.1
    epochs: int = 3
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    decay_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        positive = {k: getattr(self, k) for k in ("sigma_max", "epochs", "learning_rate")}
        others = {k: getattr(self, k) for k in ("strength", "momentum", "weight_decay", "decay_every")}
        wrong = [f"{k}={v!r} (expected > 0)" for k, v in positive.items() if not 0 < v < math.inf]
        wrong += [f"{k}={v!r} (expected >= 0)" for k, v in others.items() if not 0 <= v < math.inf]
        if wrong:
            raise ValueError(f"AGN settings: {', '.join(wrong)}")


@dataclass(frozen=True)
class EpochLoss:
    """Means over an epoch's batches: the loss that is minimised, and its cross entropy alone."""

    loss: float
    cross_entropy: float


class AgnSearch:
    """One search; its state can be saved after any epoch and taken up again.

    Attributes:
        network: a copy of the network given, in training with noise.
        sigma: parameter [L], relative std by layer in execution order.
        history: one entry per epoch done.
    """

    def __init__(
        self, network: QuantisedNetwork, traces: Mapping[str, LayerTrace], settings: AgnSettings | None = None
    ) -> None:
        """Copies the network.

        Args:
            network: calibrated; it is not changed.
            traces: of all its layers, for multiplications and the std of outputs.
            settings: hyper-parameters.

        Raises:
            ValueError: a layer has no trace.
        """
        self.settings = settings or AgnSettings()
        self.network = copy.deepcopy(network).use(Arithmetic.FAKE)
        layers = self.network.layers()
        missing = [name for name in layers if name not in traces]
        if missing:
            raise ValueError(f"layers {missing} have no trace; trace this network first")
        macs = torch.tensor([float(traces[name].macs) for name in layers])
        self.shares = macs / macs.sum()
        self.output_std = {name: traces[name].accumulator_std for name in layers}
        self.sigma = nn.Parameter(torch.full((len(layers),), self.settings.sigma_init))
        self.random = torch.Generator().manual_seed(self.settings.seed)
        for index, layer in enumerate(layers.values()):
            layer.perturb = self._noise(index)
        weights = [p for p in self.network.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": self.settings.weight_decay},
            {"params": [self.sigma]},
        ]
        self.optimiser = torch.optim.SGD(
            groups,
            lr=self.settings.learning_rate,
            momentum=self.settings.momentum,
        )
        self.history: list[EpochLoss] = []

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.settings.epochs

    def run_epoch(self, batches: Iterable[Batch], progress: Progress | None = None) -> EpochLoss:
        """One pass over the training data.

        Args:
            batches: images [N, C, H, W] and labels int64 [N].
            progress: called with (steps done, steps of all epochs or 0 when unknown, text) after every step.

        Raises:
            ValueError: the loader yields nothing, a label is out of range, or the loss is not finite.
        """
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        steps = len(batches) if isinstance(batches, Sized) else 0
        total, entropy, count = 0.0, 0.0, 0
        for images, labels in batches:
            loss, cross_entropy = self._step(images, labels)
            count += 1
            if not math.isfinite(loss):
                raise ValueError(
                    f"AGN: the loss is {loss} in epoch {self.epoch + 1}, step {count}; check the images for NaN, or "
                    f"lower learning_rate (now {self._learning_rate():g}) or sigma_init ({self.settings.sigma_init:g})"
                )
            total, entropy = total + loss, entropy + cross_entropy
            if progress is not None:
                text = f"tolerance, loss {loss:.4f}"
                progress(self.epoch * steps + count, self.settings.epochs * steps, text)
        if not count:
            raise ValueError(f"AGN needs at least one batch, the loader yielded nothing in epoch {self.epoch + 1}")
        self.history.append(EpochLoss(total / count, entropy / count))
        return self.history[-1]

    def tolerance(self) -> Tolerance:
        """What each layer bears by now: |sigma_l|, and that times the std of the layer's output in the trace."""
        sigma = self.sigma.detach().abs().double().tolist()
        layers = {
            name: LayerTolerance.of_relative(s, std)
            for s, (name, std) in zip(sigma, self.output_std.items(), strict=True)
        }
        return Tolerance("agn", {**asdict(self.settings), "epochs_done": self.epoch}, layers)

    def loss(self, scores: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss and its cross entropy."""
        cross_entropy = F.cross_entropy(scores, labels)
        size, ceiling = self.sigma.abs(), self.settings.sigma_max
        earned = torch.where(size < ceiling, size, ceiling)
        return cross_entropy - self.settings.strength * (self.shares * earned).sum(), cross_entropy

    def state(self) -> State:
        """Everything needed to go on, as plain tensors."""
        momenta = {
            f"momentum.{i}": self.optimiser.state[p]["momentum_buffer"].clone()
            for i, p in enumerate(self._parameters())
            if self.optimiser.state[p].get("momentum_buffer") is not None
        }
        history = torch.tensor([[e.loss, e.cross_entropy] for e in self.history], dtype=torch.float64)
        return {
            "history": history.reshape(-1, 2),
            "random": self.random.get_state(),
            "sigma": self.sigma.detach().clone(),
            **momenta,
            **{f"network.{name}": value.clone() for name, value in self.network.state_dict().items()},
        }

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `state` gave.

        Raises:
            ValueError: it is the state of another network.
        """
        if "sigma" not in state or state["sigma"].shape != self.sigma.shape:
            raise ValueError(f"this is no state of an AGN search over {len(self.sigma)} layers; start without it")
        self.network.load_state_dict(
            {k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")}
        )
        self.sigma.data.copy_(state["sigma"])
        self.random.set_state(state["random"])
        self.history = [EpochLoss(*row) for row in state["history"].tolist()]
        for i, parameter in enumerate(self._parameters()):
            if f"momentum.{i}" in state:
                self.optimiser.state[parameter]["momentum_buffer"] = state[f"momentum.{i}"].clone()

    def _noise(self, index: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def add(response: torch.Tensor) -> torch.Tensor:
            if not self.network.training:
                return response
            noise = torch.randn(response.shape, generator=self.random, dtype=response.dtype)
            return response + noise * (response.std() * self.sigma[index])

        return add

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        self.optimiser.zero_grad(set_to_none=True)
        scores = self.network(images)
        check_labels(labels, scores)
        loss, cross_entropy = self.loss(scores, labels)
        loss.backward()
        self.optimiser.step()
        return float(loss.detach()), float(cross_entropy.detach())

    def _learning_rate(self) -> float:
        every = self.settings.decay_every
        return self.settings.learning_rate * 0.1 ** (self.epoch // every if every else 0)

    def _parameters(self) -> list[torch.Tensor]:
        return [p for group in self.optimiser.param_groups for p in group["params"]]


@dataclass(frozen=True, eq=False)
class AgnResult:
    """What a search found.

    Attributes:
        tolerance: of every layer.
        history: losses by epoch.
        network: the copy whose weights were trained along; without noise, in eval mode and INTEGER arithmetic.
    """

    tolerance: Tolerance
    history: tuple[EpochLoss, ...]
    network: QuantisedNetwork


def learn_tolerance(
    network: QuantisedNetwork,
    batches: Iterable[Batch],
    traces: Mapping[str, LayerTrace],
    settings: AgnSettings | None = None,
    *,
    state: Mapping[str, torch.Tensor] | None = None,
    save: Callable[[State], None] | None = None,
    progress: Progress | None = None,
) -> AgnResult:
    """A whole search.

    Args:
        network: calibrated; it is not changed, the result holds a trained copy.
        batches: iterated once per epoch; images [N, C, H, W], labels int64 [N].
        traces: of all layers.
        settings: hyper-parameters.
        state: go on from here.
        save: called with the state after every epoch.
        progress: called with (steps done, steps of all epochs or 0 when unknown, text).

    Raises:
        ValueError: as `AgnSearch`.
    """
    search = AgnSearch(network, traces, settings)
    if state is not None:
        search.load_state(state)
    while not search.finished:
        search.run_epoch(batches, progress)
        if save is not None:
            save(search.state())
    for layer in search.network.layers().values():
        layer.perturb = None
    return AgnResult(search.tolerance(), tuple(search.history), search.network.eval().use(Arithmetic.INTEGER))
