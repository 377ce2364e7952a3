"""What a network is worth on images it is not trained on: accuracy, or closeness to a teacher."""

from collections.abc import Callable, Iterable, Sized

import torch
import torch.nn.functional as F

from approx.training.labels import check_labels, images_and_labels

Batch = tuple[torch.Tensor, torch.Tensor]
Forward = Callable[[torch.Tensor], torch.Tensor]
Report = Callable[[int, int, float], None]


def accuracy(module: Forward, batches: Iterable[Batch], report: Report | None = None) -> float:
    """Share of images whose largest output is the label, 0..1.

    Args:
        module: images [N, C, H, W] -> outputs [N, F].
        batches: images and labels int64 [N].
        report: called with (batches done, batches or 0 when unknown, accuracy so far).

    Raises:
        ValueError: the loader yields nothing, no labels, or labels that the outputs do not have.
    """
    right = total = 0
    steps = len(batches) if isinstance(batches, Sized) else 0
    with torch.no_grad():
        for step, (images, labels) in enumerate(map(images_and_labels, batches)):
            scores = module(images)
            check_labels(labels, scores)
            right += int((scores.argmax(1) == labels).sum())
            total += len(labels)
            if report is not None:
                report(step + 1, steps, right / total)
    if not total:
        raise ValueError("accuracy needs at least one batch; the loader yielded nothing")
    return right / total


class Divergence:
    """Mean Kullback-Leibler divergence KL(teacher || network) in nats at temperature 1; 0 is the teacher itself.

    Finer than accuracy, and it says something where accuracy does not: on images the teacher was itself trained on.
    """

    def __init__(self, teacher: Forward, batches: Iterable[Batch]) -> None:
        """Runs the teacher once and keeps its outputs.

        Args:
            teacher: in evaluation mode.
            batches: the same images in the same order every time they are iterated; labels are not looked at.
        """
        self.batches = batches
        with torch.no_grad():
            self.targets = [F.log_softmax(teacher(images).double(), 1) for images, _ in batches]

    def __call__(self, module: Forward) -> float:
        """The divergence of a network.

        Raises:
            ValueError: the loader yields nothing, or not what it did for the teacher.
        """
        total, count = 0.0, 0
        with torch.no_grad():
            for (images, _), target in zip(self.batches, self.targets, strict=False):
                scores = F.log_softmax(module(images).double(), 1)
                total += float(F.kl_div(scores, target, reduction="sum", log_target=True))
                count += len(images)
        if not count or count != sum(map(len, self.targets)):
            raise ValueError(
                f"divergence: expected the teacher's {sum(map(len, self.targets))} images, got {count}; "
                "give a loader that can be iterated again"
            )
        return total / count
