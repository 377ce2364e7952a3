"""Exact-error sensitivity: D = 1/2 E[(g . d)^2], d a circuit's true error in a layer's whole output.

g is one image's gradient at the layer's output (`gradient_pass`); both are taken over all channels and positions of the
image, so that errors which go together count together. Source: papers/approximate_networks.md §8.
"""

from collections.abc import Mapping

import torch

from approx import LayerChoice, QuantisedNetwork
from multipliers import Multiplier
from noise_models.progress import Progress
from noise_models.sensitivity.gradient_pass import Batches
from noise_models.sensitivity.layer_errors import LayerErrors
from noise_models.sensitivity.recording import record
from noise_models.sensitivity.refinement import Refinement


class ExactError(Refinement):
    """See the module. Final.

    It holds five bytes for each activation of each image: 0.24 GB for 256 images and ResNet-20.
    """

    def __init__(
        self,
        network: QuantisedNetwork,
        library: Mapping[str, Multiplier],
        batches: Batches,
        temperature: float | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """One gradient pass.

        Args:
            network: calibrated, not corrected; its circuits are ignored, it is not changed.
            library: circuits by name.
            batches, temperature, seed, progress: as `gradient_pass`.

        Raises:
            ValueError: as `gradient_pass`, or the network is corrected already.
        """
        self.records, self.images = record(network, batches, temperature, seed, progress)
        self.errors = LayerErrors(network, library)

    def of(self, layer: str, choice: LayerChoice) -> float:
        return float(0.5 * self.rises(layer, choice).square().mean())

    def rises(self, layer: str, choice: LayerChoice) -> torch.Tensor:
        """First-order rise of each image's loss, g . d, float64 [N] nats."""
        if layer not in self.records:
            raise ValueError(f"there is no layer {layer!r}; the network has {list(self.records)}")
        seen = self.records[layer]
        rises = torch.zeros(self.images, dtype=torch.float64)
        errors = self.errors.of(layer, choice, seen)
        for images, gradient, error in zip(seen.images, seen.gradients, errors, strict=True):
            rises.index_add_(0, images, (gradient * error).flatten(1).sum(1, dtype=torch.float64))
        return rises
