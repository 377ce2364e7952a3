"""`Sensitivity`: how much the loss rises with error in each output channel, from one gradient pass.

Source: papers/approximate_networks.md §8. With g = dL/dy at a layer's real output before the bias, per sample and
position, and an error of mean mu_c and std sigma_c in channel c,

    incoherent  F_c = E[Σ_positions g^2]          coherent  G_c = E[(Σ_positions g)^2]
    loss rises by  1/2 Σ_c (F_c sigma_c^2 + G_c mu_c^2)

The errors of different positions and channels count as independent; `exact_error` knows better, at a price.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from approx import LayerTrace, QuantisedNetwork
from approx.multiplying import Multiplying
from noise_models.prediction import FloatArray
from noise_models.progress import Progress
from noise_models.sensitivity.gradient_pass import Batches, Tap, gradient_pass
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
            raise ValueError(
                f"{path}: expected a sensitivity file, *.sensitivity.safetensors, as `picojoule tolerance --method "
                f"fisher` leaves beside its tolerance; this is none, or incomplete ({error})"
            ) from error


def measure_sensitivity(
    network: QuantisedNetwork,
    batches: Batches,
    temperature: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Sensitivity:
    """One forward and one backward pass over calibration data, in FAKE arithmetic.

    Args:
        network: calibrated; left as it was.
        batches: images [N, C, H, W]; or pairs (images, labels int64 [N]) for the gradient of their cross entropy.
        temperature: divides the outputs before the loss; None: `fitting_temperature` of the first batch.
        seed: of the random signs.
        progress: called with (batches done, batches or 0 when unknown, text).

    Raises:
        ValueError: as `gradient_pass`.
    """
    layers = network.multiplying()
    sums = {name: torch.zeros(2, len(layer.gain), dtype=torch.float64) for name, layer in layers.items()}
    taps = {name: _squares(layer, sums[name]) for name, layer in layers.items()}
    samples = gradient_pass(network, taps, batches, temperature, seed, progress)
    found = {name: LayerSensitivity(*(part.numpy() / samples for part in both)) for name, both in sums.items()}
    return Sensitivity(found, samples)


def _squares(layer: Multiplying, total: torch.Tensor) -> Tap:
    """Adds each backward pass's squared gradients to `total` [2, C]."""

    def collect(gradient: torch.Tensor) -> None:
        flat = layer.by_channel(gradient)
        total[0] += flat.square().sum((0, 1))
        total[1] += flat.sum(1).square().sum(0)

    def tap(response: torch.Tensor) -> None:
        response.register_hook(collect)

    return tap
