"""`Mixture`: the candidates of one layer, and how much of each is in it."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from noise_models.agn import LayerFolding
from noise_models.candidates import Candidate
from noise_models.differentiable.settings import ChoiceSettings

FAINT = 1e-6  # relative std below which noise is none; keeps the gradient of the root finite


class Mixture:
    """What one layer chooses from; moments of errors are in units of std(y).

    Attributes:
        candidates: M of them.
        alpha: parameter [M].
        mean, variance: of each candidate's error, float32 [M, C].
        energy: float32 [M].
    """

    def __init__(self, candidates: Sequence[Candidate], folding: LayerFolding, settings: ChoiceSettings) -> None:
        """Starts where each candidate adds at most sigma_init^2 / M to the mean square of the mixture's error."""
        self.candidates = tuple(candidates)
        predictions = [c.prediction for c in candidates]
        stds = [folding.relative(p.residual_std if settings.corrected else p.std) for p in predictions]
        means = [folding.relative(0.0 * p.mean if settings.corrected else p.mean) for p in predictions]
        self.mean = torch.tensor(np.array(means), dtype=torch.float32)
        self.variance = torch.tensor(np.square(stds), dtype=torch.float32)
        self.energy = torch.tensor([c.energy for c in candidates], dtype=torch.float32)
        square = (self.variance + self.mean.square()).mean(1)
        self.alpha = nn.Parameter(-settings.temperature(0) * (square + settings.sigma_init**2 / len(candidates)).log())

    def shares(self, temperature: float, random: torch.Generator | None = None) -> torch.Tensor:
        """pi [M]; with a generator, of a Gumbel-softmax draw."""
        scores: torch.Tensor = self.alpha
        if random is not None:
            scores = scores - torch.empty_like(scores).exponential_(generator=random).log()
        return F.softmax(scores / temperature, 0)

    def error(self, shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and std of the mixture's error, [C] each."""
        return shares @ self.mean, (shares @ self.variance + FAINT**2).sqrt()

    @property
    def likeliest(self) -> Candidate:
        """The candidate with the largest share."""
        return self.candidates[int(self.alpha.argmax())]
