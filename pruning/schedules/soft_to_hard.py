"""Soft-to-hard pruning: filters are zeroed after every epoch and go on learning; in the end they are cut.

He, Kang, Dong, Fu, Yang, "Soft Filter Pruning for Accelerating Deep Convolutional Neural Networks", IJCAI 2018, arXiv
1808.06866; gradually: He, Dong, Kang, Fu, Yan, Yang, "Asymptotic Soft Filter Pruning for Deep Convolutional Neural
Networks", IEEE Transactions on Cybernetics 2020, arXiv 1808.07471. Both reconstructed from memory.
"""

from __future__ import annotations

from typing import ClassVar, final

from pruning.schedules.base import Schedule, Step, checked_count
from pruning.shrinking import Shrinking
from pruning.zeroing import filters_and_biases


@final
class SoftToHard(Schedule):
    """One training at full size, in which units may come back after every epoch, then one cut.

    The papers score by the L2 norm of filters and take the same share of every layer: criterion "magnitude",
    selector "local". What is zeroed: `pruning.zeroing`. Training must call `phase.after_epoch`, and should end with
    the weights of its last epoch: an average of weights, or the best of them, are not zeroed.
    """

    name: ClassVar[str] = "soft-to-hard"

    def __init__(self, epochs: int = 10, final_epochs: int = 0, gradual: bool = True) -> None:
        """Choose the training.

        Args:
            epochs: before the cut, with zeroing after each.
            final_epochs: after the cut.
            gradual: let the share removed grow over the epochs, instead of all at once in each.

        Raises:
            ValueError: a number out of range.
        """
        self.epochs = checked_count(self.name, "epochs", epochs, 1)
        self.final_epochs = checked_count(self.name, "final_epochs", final_epochs, 0)
        self.gradual = gradual

    def steps(self, network: Shrinking) -> tuple[Step, ...]:
        """See `Schedule.steps`.

        Raises:
            ValueError: a group has no filters that could be zeroed (it is named).
        """
        filters_and_biases(network.original)
        cost, limit = network.cost, network.budget.limit
        shares = [asymptotic_share(epoch / self.epochs) if self.gradual else 1.0 for epoch in range(1, self.epochs)]
        soft = (*(cost + (limit - cost) * share for share in shares), limit)
        return (Step(self.epochs, soft=soft), Step(self.final_epochs, limit=limit))


def asymptotic_share(progress: float) -> float:
    """Of all that is to go, how much is gone: 0 at 0, three quarters at 1/8, 1 at 1.

    The exponential a exp(-k t) + b through the three points of the second paper, with k = 8 ln 4, which meets the
    middle one to 2e-5; there it is the share of filters, here the share of the cost.
    """
    return (1 - 4 ** (-8 * progress)) / (1 - 4**-8)
