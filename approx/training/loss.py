"""`Loss`: cross entropy with the labels and divergence from a teacher, in the recipe's shares.

    L = (1 - a) CE(student, labels) + a T^2 KL(teacher / T || student / T)

Source: Hinton et al., "Distilling the knowledge in a neural network", arXiv 1503.02531.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from approx.training.labels import check_labels
from approx.training.mixup import mixup
from approx.training.recipe import Recipe


class Loss:
    """What a training minimises; without a teacher it is cross entropy alone."""

    def __init__(self, recipe: Recipe, teacher: nn.Module | None) -> None:
        """Copies the teacher.

        Raises:
            ValueError: labels are not to be used, and there is no teacher either.
        """
        if teacher is None and recipe.mixup:
            raise ValueError("training recipe: mixup is for distillation; give a teacher")
        if teacher is None and recipe.distillation == 1:
            raise ValueError("training recipe: distillation=1 leaves the labels out; give a teacher")
        self.recipe = recipe
        self.teacher = None if teacher is None else copy.deepcopy(teacher).eval()

    def __call__(self, module: nn.Module, images: torch.Tensor, labels: torch.Tensor, update: int) -> torch.Tensor:
        """The loss of one batch.

        Args:
            module: the student.
            images: [N, C, H, W].
            labels: int64 [N]; not looked at where distillation is 1.
            update: number of the step, for mixup.

        Raises:
            ValueError: a label is out of range, or the teacher's outputs have another shape.
        """
        t, share = self.recipe.temperature, self.recipe.distillation
        if self.recipe.mixup:
            images = mixup(images, self.recipe.seed, update)
        logits = module(images)
        if self.teacher is None:
            return _cross_entropy(logits, labels)
        with torch.no_grad():
            target = F.log_softmax(self.teacher(images) / t, 1)
        if target.shape != logits.shape:
            raise ValueError(f"the teacher's outputs are {list(target.shape)}, the student's {list(logits.shape)}")
        distance = F.kl_div(F.log_softmax(logits / t, 1), target, reduction="batchmean", log_target=True)
        if share == 1:
            return t * t * distance
        return (1 - share) * _cross_entropy(logits, labels) + share * t * t * distance


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    check_labels(labels, logits)
    return F.cross_entropy(logits, labels)
