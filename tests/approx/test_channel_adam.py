"""Adam by channel: its formula, its scale, and that nothing is lost between state dicts."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from approx import Recipe
from approx.training.channel_adam import SMALLEST, ChannelAdam


def moved(parameter: torch.Tensor, grads: list[torch.Tensor], **options: float) -> torch.Tensor:
    own = nn.Parameter(parameter.clone())
    optimiser = ChannelAdam([own], 0.01, **options)
    for grad in grads:
        own.grad = grad.clone()
        optimiser.step()
    return own.detach()


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), steps=st.integers(1, 6), decay=st.sampled_from([0.0, 0.1]))
def test_it_is_the_formula(seed: int, steps: int, decay: float) -> None:
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 2, 2, generator=random, dtype=torch.float64)
    grads = [torch.randn(3, 2, 2, generator=random, dtype=torch.float64) for _ in range(steps)]
    found = moved(weight, grads, weight_decay=decay)
    for channel in range(3):
        w, m, v = weight[channel].flatten().tolist(), [0.0] * 4, 0.0
        for t, grad in enumerate(grads, 1):
            g = grad[channel].flatten().tolist()
            m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
            v = 0.999 * v + 0.001 * sum(b * b for b in g) / 4
            root, largest = math.sqrt(v / (1 - 0.999**t)), max(abs(a) for a in w)
            step = [0.01 * largest * a / (1 - 0.9**t) / root for a in m]
            w = [(1 - 0.01 * decay) * a - b for a, b in zip(w, step, strict=True)]
        assert found[channel].flatten().tolist() == pytest.approx(w, rel=1e-6, abs=1e-9)


def test_channels_of_any_size_move_alike_and_so_do_gradients() -> None:
    weight, grad = torch.randn(4, 3, 3), torch.randn(4, 3, 3)
    sizes = torch.tensor([1e-1, 1.0, 1e2, 1e4]).view(-1, 1, 1)
    step = moved(weight, [grad]) - weight
    torch.testing.assert_close((moved(weight * sizes, [grad / sizes]) - weight * sizes) / sizes, step)
    rms = step.flatten(1).square().mean(1).sqrt()
    torch.testing.assert_close(rms, 0.01 * weight.flatten(1).abs().amax(1))


def test_a_scalar_is_one_channel() -> None:
    assert float(moved(torch.tensor(2.0), [torch.tensor(3.0)])) == pytest.approx(2.0 - 0.01 * 2.0)


def test_a_vector_is_one_channel_and_zeros_can_move() -> None:
    step = moved(torch.zeros(5), [torch.arange(5.0)])
    torch.testing.assert_close(step, -0.01 * SMALLEST * torch.arange(5.0) / math.sqrt(6))
    assert not moved(torch.ones(2, 2), [torch.zeros(2, 2)]).sub(1).any()


def test_parameters_without_gradient_stay_and_closures_are_refused() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    optimiser = ChannelAdam([parameter], 0.1)
    optimiser.step()
    assert torch.equal(parameter, torch.ones(2, 2)) and not optimiser.state
    with pytest.raises(ValueError, match="takes no closure"):
        optimiser.step(lambda: 0.0)


def test_it_goes_on_from_its_state() -> None:
    grads = [torch.randn(3, 4) for _ in range(6)]
    one = nn.Parameter(torch.randn(3, 4))
    first = Recipe(optimiser="channel-adam").make_optimiser([one])
    for grad in grads[:3]:
        one.grad = grad
        first.step()
    two = nn.Parameter(one.detach().clone())
    second = Recipe(optimiser="channel-adam").make_optimiser([two])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for grad in grads[3:]:
        one.grad, two.grad = grad, grad.clone()
        first.step()
        second.step()
    assert torch.equal(one, two)
