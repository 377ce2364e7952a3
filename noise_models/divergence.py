"""`DivergenceMeter`: what an assignment really does to the network's predictions, bit-exactly.

The measure is KL(exact || approximate) of the predicted classes at a temperature, in nats. Cross entropy would say
little on images the network was trained on, where it is next to nothing; the divergence from the exact network's own
prediction needs no labels and is what a predicted degradation speaks of.
"""

import copy
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F

from approx import Arithmetic, Assignment, LayerChoice, QuantisedNetwork, correct, layer_moments
from approx.visiting import CHUNK
from multipliers import Multiplier
from noise_models.sensitivity.gradient_pass import check_images
from noise_models.sensitivity.refinement import Refinement


class DivergenceMeter:
    """Measures assignments of one network against its exact products. Final.

    Attributes:
        images: float32 [N, C, H, W], what is measured on.
    """

    def __init__(
        self,
        network: QuantisedNetwork,
        library: Mapping[str, Multiplier],
        batches: Iterable[torch.Tensor | tuple[torch.Tensor, torch.Tensor]],
        correction: torch.Tensor,
        temperature: float = 1.0,
    ) -> None:
        """Runs the exact network.

        Args:
            network: calibrated, not corrected; its circuits are ignored, it is not changed.
            library: circuits by name.
            batches: images [N, C, H, W], or pairs of which the first is, that calibration has not seen; never of the
                test set.
            correction: images [N, C, H, W] for free correction.
            temperature: divides the outputs before the divergence.

        Raises:
            ValueError: no image came, images hold NaN or infinity, or the temperature is not positive.
        """
        if not 0 < temperature < float("inf"):
            raise ValueError(f"the temperature must be positive, got {temperature!r}")
        images = [batch[0] if isinstance(batch, tuple | list) else batch for batch in batches]
        for step, batch in enumerate([correction, *images]):
            check_images(batch, step)
        if not images:
            raise ValueError("measuring divergence needs at least one batch; the loader yielded nothing")
        self.images, self.temperature, self.library = torch.cat(images), temperature, library
        self._network = copy.deepcopy(network).assign(Assignment(), library).use(Arithmetic.INTEGER)
        self._correction, self._moments = correction, layer_moments(network, correction)
        self._exact = self._scores(self._network)

    def of(self, assignment: Assignment) -> float:
        """Mean divergence in nats, >= 0, after free correction.

        Raises:
            ValueError: the assignment names a layer or a circuit that does not exist or fit.
        """
        network = copy.deepcopy(self._network).assign(assignment, self.library)
        scores = self._scores(correct(network, self._correction, self._moments))
        return float(F.kl_div(scores, self._exact, reduction="batchmean", log_target=True).clamp(min=0))

    @torch.no_grad()
    def _scores(self, network: QuantisedNetwork) -> torch.Tensor:
        """Logarithms of the predicted chances, float64 [N, F]."""
        scores = torch.cat([network(part) for part in self.images.split(CHUNK)])
        return F.log_softmax(scores.double() / self.temperature, 1)


class MeasuredDivergence(Refinement):
    """The divergence of one substitution by itself: the dearest way to judge a candidate, and nothing left to predict.

    A choice that only codes weights anew differs from the exact network too, if little. Final.
    """

    def __init__(self, meter: DivergenceMeter) -> None:
        self.meter = meter

    def of(self, layer: str, choice: LayerChoice) -> float:
        return self.meter.of(Assignment({layer: choice}))
