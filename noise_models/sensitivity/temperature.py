"""The temperature at which a network's doubt is that of a usual classifier on usual images.

A network that is sure of every image (an easy task, or images it was trained on) has hardly any curvature to report,
until an error has used up its margin, and then everything is lost at once. Dividing the outputs by a temperature makes
the rise of the loss speak of errors in proportion to the margin; outputs of twice the size then get twice the
temperature, and degradations of different networks mean about the same. Published ResNet-20 and 56 on CIFAR-10 get 2.0
and 2.7 (papers/attainable.md used 2 for the former). Ours.
"""

import torch

DOUBT = 0.03


def fitting_temperature(scores: torch.Tensor) -> float:
    """The lowest temperature, at least 1, at which the mean of 1 - max softmax reaches `DOUBT`.

    Args:
        scores: finite, [N, F].
    """

    def doubt(temperature: float) -> float:
        return float((1 - (scores.double() / temperature).softmax(1).amax(1)).mean())

    low, high = 1.0, 1.0
    while doubt(high) < DOUBT and scores.shape[1] > 1:
        low, high = high, 2 * high
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if doubt(middle) >= DOUBT else (middle, high)
    return high
