"""Hessian-vector sensitivity: D = 1/2 E[d^T H d], d a circuit's true error in a layer's whole output.

H is the Hessian, at the layer's output, of the cross entropy between the network's own prediction and the disturbed
one. That is the Fisher information without random signs, so that fewer images do than for `exact_error`; but every
candidate runs the whole network. Source: papers/approximate_networks.md §8.

d^T H d is the second derivative of the loss along t d at t = 0, found by double backward through FAKE arithmetic, where
backward takes rounding for the identity. Differences of gradients would see the steps of rounding: a small t changes
few codes or none, a large one leaves the quadratic range.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from approx import Arithmetic, LayerChoice, QuantisedNetwork
from multipliers import Multiplier
from noise_models.sensitivity.gradient_pass import frozen
from noise_models.sensitivity.layer_errors import LayerErrors
from noise_models.sensitivity.recording import record
from noise_models.sensitivity.refinement import Refinement
from noise_models.sensitivity.temperature import fitting_temperature


class HessianVector(Refinement):
    """See the module. Final."""

    def __init__(
        self,
        network: QuantisedNetwork,
        library: Mapping[str, Multiplier],
        batches: list[torch.Tensor],
        temperature: float | None = None,
    ) -> None:
        """Records what every layer reads.

        Args:
            network: calibrated, not corrected; its circuits are ignored, it is not changed.
            library: circuits by name.
            batches: images [N, C, H, W] each; kept.
            temperature: as `gradient_pass`.

        Raises:
            ValueError: as `gradient_pass`, or the network is corrected already.
        """
        self.batches = batches
        self.records, self.images = record(network, batches, temperature)
        self.errors = LayerErrors(network, library)
        self.network = self.errors.network
        self.temperature = temperature or self._fitting_temperature()

    def of(self, layer: str, choice: LayerChoice) -> float:
        if layer not in self.records:
            raise ValueError(f"there is no layer {layer!r}; the network has {list(self.records)}")
        errors = iter(self.errors.of(layer, choice, self.records[layer]))
        disturbed = self.network.multiplying()[layer]
        step = torch.zeros((), requires_grad=True)
        disturbed.perturb = lambda response: response + step * next(errors)
        try:
            with self.network.using(Arithmetic.FAKE), frozen(self.network), torch.enable_grad():
                return 0.5 * sum(self._curvature(images, step) for images in self.batches) / self.images
        finally:
            disturbed.perturb = None

    def _fitting_temperature(self) -> float:
        with self.network.using(Arithmetic.FAKE), torch.no_grad():
            return fitting_temperature(self.network(self.batches[0]))

    def _curvature(self, images: torch.Tensor, step: torch.Tensor) -> float:
        """Second derivative of the summed loss of these images along the step."""
        scores = self.network(images) / self.temperature
        loss = F.cross_entropy(scores, scores.detach().softmax(1), reduction="sum")
        (slope,) = torch.autograd.grad(loss, step, create_graph=True)
        (curvature,) = torch.autograd.grad(slope, step)
        return float(curvature)
