"""`ChannelAdam`: Adam whose steps are relative to the weights of each output channel.

    m <- b1 m + (1 - b1) g,   v_c <- b2 v_c + (1 - b2) mean over channel c of g^2,   both without bias as in Adam
    w_c <- (1 - rate decay) w_c - rate max|w_c| m_c / (sqrt(v_c) + eps)

Weights into which batch normalisation is folded differ a hundredfold in size between channels, and so do their
gradients: a rate that moves some by a tenth of an integer step throws others across their whole range. Here a step of
127 rate is about that many integer steps in all of them, for 8 bit. One second moment for a channel rather than for
each weight keeps directions: weights whose gradients are noise do not move as far as all others.

Sources: Kingma and Ba, arXiv 1412.6980; one second moment per block of weights: Zhang et al., Adam-mini, arXiv
2406.16793; steps relative to the weights: You et al., LARS, arXiv 1708.03888.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch

SMALLEST = 1e-3  # stands for the largest weight of channels that are (nearly) zero, so that they can move


class ChannelAdam(torch.optim.Optimizer):
    """Weights of two dimensions and more have their channels along the first; vectors and scalars are one."""

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        eps: float = 1e-12,
    ) -> None:
        """Nothing has moved.

        Args:
            parameters: to be trained.
            rate: of a step, in units of a channel's largest weight.
            betas: b1, b2 above.
            weight_decay: decoupled from the gradient.
            eps: above.
        """
        super().__init__(parameters, {"lr": rate, "betas": betas, "weight_decay": weight_decay, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient.

        Raises:
            ValueError: there is a closure; nothing here evaluates twice.
        """
        if closure is not None:
            raise ValueError("ChannelAdam takes no closure; compute the gradient before the step")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    _move(parameter, parameter.grad, self.state[parameter], group)


def _move(parameter: torch.Tensor, grad: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    channels = (lambda t: t.flatten(1)) if parameter.dim() > 1 else (lambda t: t.view(1, -1))
    if not state:
        state["step"] = torch.zeros(())
        state["mean"] = torch.zeros_like(parameter)
        state["square"] = torch.zeros_like(channels(parameter)[:, 0])
    first, second = group["betas"]
    state["step"] += 1
    done = float(state["step"])
    state["mean"].lerp_(grad, 1 - first)
    state["square"].lerp_(channels(grad).square().mean(1), 1 - second)
    mean = state["mean"] / (1 - first**done)
    root = (state["square"] / (1 - second**done)).sqrt() + group["eps"]
    largest = channels(parameter).abs().amax(1).clamp(min=SMALLEST)
    parameter.mul_(1 - group["lr"] * group["weight_decay"])
    parameter.sub_((group["lr"] * (largest / root)[:, None] * channels(mean)).view_as(parameter))
