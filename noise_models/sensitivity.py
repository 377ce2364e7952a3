"""`Sensitivity`: how much the loss rises with error in each output channel, from one gradient pass.

Source: papers/approximate_networks.md §8. With g = dL/dy at a layer's real output before the bias, per sample and
position, and an error of mean mu_c and std sigma_c in channel c,

    incoherent  F_c = E[Σ_positions g^2]          coherent  G_c = E[(Σ_positions g)^2]
    loss rises by  1/2 Σ_c (F_c sigma_c^2 + G_c mu_c^2)

The second order is the Fisher information, so labels are drawn from the network's own prediction; a temperature above 1
flattens it, which keeps a confident network from reporting no sensitivity at all (papers/attainable.md used 2).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from approx import Arithmetic, LayerTrace, QuantisedNetwork
from approx.layer import QuantLayer
from noise_models.prediction import FloatArray
from noise_models.progress import Progress
from noise_models.tolerance import LayerTolerance, Tolerance


@dataclass(frozen=True, eq=False)
class LayerSensitivity:
    """Per output channel, loss per squared real output unit.

    Attributes:
        incoherent: F, float64 [C]; for error that differs between positions and samples.
        coherent: G, float64 [C]; for error that is the same everywhere.
    """

    incoherent: FloatArray
    coherent: FloatArray


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Of every layer.

    Attributes:
        layers: by layer name, in execution order.
        samples: images it was estimated on.
    """

    layers: Mapping[str, LayerSensitivity]
    samples: int

    def __getitem__(self, layer: str) -> LayerSensitivity:
        if layer not in self.layers:
            raise ValueError(f"the sensitivity has no layer {layer!r}; it has {list(self.layers)}")
        return self.layers[layer]

    def tolerance(self, traces: Mapping[str, LayerTrace], loss: float = 0.01) -> Tolerance:
        """The same as the error std each channel bears.

        Each layer may raise the loss by `loss` times its share of the multiplications, each of its channels by an equal
        part of that: 1/2 F_c sigma_c^2 = share_l * loss / C.

        Args:
            traces: of the same layers.
            loss: rise of the loss in nats if every layer uses its tolerance up.

        Raises:
            ValueError: `loss` is not positive, or a layer has no trace.
        """
        if not loss > 0:
            raise ValueError(f"the loss to share out must be positive, got {loss!r}")
        missing = [name for name in self.layers if name not in traces]
        if missing:
            raise ValueError(f"layers {missing} have a sensitivity but no trace; trace the same network")
        total = sum(traces[name].macs for name in self.layers)
        layers = {}
        for name, layer in self.layers.items():
            share, channels = traces[name].macs / total, len(layer.incoherent)
            with np.errstate(divide="ignore"):
                std = np.sqrt(2 * share * loss / channels / layer.incoherent)
            layers[name] = LayerTolerance.of_absolute(std, traces[name].accumulator_std)
        return Tolerance("fisher", {"loss": loss, "samples": self.samples}, layers)

    def save(self, path: Path | str) -> None:
        """Write a safetensors file."""
        arrays: dict[str, FloatArray] = {}
        for name, layer in self.layers.items():
            arrays |= {f"{name}|incoherent": layer.incoherent, f"{name}|coherent": layer.coherent}
        save_file(arrays, str(path), {"layers": "\n".join(self.layers), "samples": str(self.samples)})

    @classmethod
    def load(cls, path: Path | str) -> "Sensitivity":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not a sensitivity file.
        """
        try:
            with safe_open(str(path), "np") as file:
                about = file.metadata() or {}
                layers = {
                    name: LayerSensitivity(*(file.get_tensor(f"{name}|{k}") for k in ("incoherent", "coherent")))
                    for name in about["layers"].split("\n")
                }
                return cls(layers, int(about["samples"]))
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{path}: not a sensitivity file, or incomplete: {error}; compute it again") from error


def measure_sensitivity(
    network: QuantisedNetwork,
    batches: Iterable[torch.Tensor | tuple[torch.Tensor, torch.Tensor]],
    temperature: float = 2.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sensitivity:
    """One forward and one backward pass over calibration data, in FAKE arithmetic.

    Args:
        network: calibrated; left as it was.
        batches: images [N, C, H, W], whose labels are drawn from the network's prediction; or pairs (images,
            labels int64 [N]).
        temperature: divides the outputs before loss and draw.
        seed: of the drawn labels.
        progress: called with (batches done, batches or 0 when unknown, text).

    Raises:
        ValueError: no batch came, the temperature is not positive, a label is out of range, or the loss is not finite.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature!r}")
    sums = {name: torch.zeros(2, len(layer.weight), dtype=torch.float64) for name, layer in network.layers().items()}
    random, samples = torch.Generator().manual_seed(seed), 0
    steps = len(batches) if isinstance(batches, Sized) else 0
    with network.using(Arithmetic.FAKE), _probed(network, sums), torch.enable_grad():
        for step, batch in enumerate(batches):
            images, labels = batch if isinstance(batch, tuple | list) else (batch, None)
            scores = network(images) / temperature
            loss = F.cross_entropy(scores, _labels(scores, labels, random), reduction="sum")
            if not torch.isfinite(loss):
                raise ValueError(
                    f"the loss of batch {step + 1} is {float(loss.detach())}; check its images for NaN or infinity"
                )
            loss.backward()
            samples += len(images)
            if progress is not None:
                progress(step + 1, steps, "sensitivity")
    if not samples:
        raise ValueError("measuring sensitivity needs at least one batch; the loader yielded nothing")
    layers = {name: LayerSensitivity(*(part.numpy() / samples for part in both)) for name, both in sums.items()}
    return Sensitivity(layers, samples)


def _labels(scores: torch.Tensor, labels: torch.Tensor | None, random: torch.Generator) -> torch.Tensor:
    if labels is None:
        chances = torch.softmax(scores.detach(), 1).nan_to_num(1.0)  # the caller reports NaN as a loss
        return torch.multinomial(chances, 1, generator=random).flatten()
    check_labels(labels, scores)
    return labels


def check_labels(labels: torch.Tensor, scores: torch.Tensor) -> None:
    """Raises ValueError unless there is one label of an existing class for each row of scores [N, F]."""
    if labels.shape != scores.shape[:1]:
        raise ValueError(f"expected one label per image, {len(scores)}, got a tensor of shape {tuple(labels.shape)}")
    low, high = (int(v) for v in torch.aminmax(labels))
    if low < 0 or high >= scores.shape[1]:
        raise ValueError(f"labels must lie in 0..{scores.shape[1] - 1}, the network's outputs, got {low}..{high}")


@contextmanager
def _probed(network: QuantisedNetwork, sums: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Adds each backward pass's squared gradients to `sums` [2, C]; parameters need no gradient meanwhile."""
    layers = network.layers()
    before = {name: layer.perturb for name, layer in layers.items()}
    wanted = [p for p in network.parameters() if p.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    for name, layer in layers.items():
        layer.perturb = _probe(layer, sums[name])
    try:
        yield
    finally:
        for name, layer in layers.items():
            layer.perturb = before[name]
        for parameter in wanted:
            parameter.requires_grad_(True)


def _probe(layer: QuantLayer, total: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    def collect(gradient: torch.Tensor) -> None:
        flat = layer.channels_last(gradient).reshape(len(gradient), -1, total.shape[1])  # [N, positions, C]
        total[0] += flat.square().sum((0, 1))
        total[1] += flat.sum(1).square().sum(0)

    def probe(response: torch.Tensor) -> torch.Tensor:
        if not response.requires_grad:
            response.requires_grad_()
        response.register_hook(collect)
        return response

    return probe
