"""`WeightAverage`: exponential moving average of a network's weights, itself a network.

    average <- d average + (1 - d) weights        d = min(decay, (1 + t) / (10 + t)) at update t = 0, 1, ...

The decay warms up, so that a training of few steps is not an average of its starting point. Floating-point buffers
(running statistics) are averaged alike; integer and boolean ones are copied.

Source: Polyak and Juditsky, 1992; the warm-up is that of TensorFlow's ExponentialMovingAverage.
"""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class WeightAverage(AveragedModel):
    """The average of a module, to be evaluated in its place.

    Attributes:
        module: has the averaged weights, in evaluation mode.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Starts at the module's present weights.

        Args:
            module: is not changed.
            decay: 0..1.
        """

        def average(old: torch.Tensor, new: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
            if not old.is_floating_point():
                return new
            t = int(count) - 1  # the copy below counts as one
            return old.lerp(new, 1 - min(decay, (1 + t) / (10 + t)))

        super().__init__(module, avg_fn=average, use_buffers=True)
        self.module.eval()
        self.update_parameters(module)
