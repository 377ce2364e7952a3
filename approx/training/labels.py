"""What a loader yields, checked: torch itself answers with an index error or a crash."""

from typing import Any

import torch


def images_and_labels(batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The two parts of a loader's batch.

    Raises:
        ValueError: it has other parts.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        parts = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise ValueError(f"a loader must yield (images, labels) here, got {type(batch).__name__}{parts}")
    images, labels = batch
    return images, labels


def check_labels(labels: torch.Tensor, scores: torch.Tensor) -> None:
    """Checks that there is one label of an existing class for every image.

    Args:
        labels: integers [N].
        scores: the network's outputs [N, F].

    Raises:
        ValueError: there are no images, another number of labels, no integers, or a label outside 0..F-1.
    """
    if labels.shape != scores.shape[:1] or not len(scores):
        raise ValueError(f"expected one label per image, {len(scores)}, got a tensor of shape {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype is torch.bool:
        raise ValueError(f"expected integer labels, got {labels.dtype}")
    low, high = (int(v) for v in torch.aminmax(labels))
    if low < 0 or high >= scores.shape[1]:
        raise ValueError(f"labels must lie in 0..{scores.shape[1] - 1}, the network's outputs, got {low}..{high}")
