"""U1: the cut network equals the masked one, on every structure and on random residual networks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pruning import Plan, difference_after_cut, find_groups, find_safe_groups, trace
from pruning.check import mask, require_equal
from pruning.gates import gated
from pruning.testing import random_kept, randomise

NAMES = ["conv", "prelu", "resnet", "concat", "grouped", "nhwc", "gates", "self-residual", "matmul", "tied"]


@pytest.mark.parametrize("name", NAMES)
def test_random_cuts_equal_masks(traced, name):
    grouping = find_safe_groups(traced(name))
    assert grouping.groups
    for seed in range(3):
        assert difference_after_cut(grouping, random_kept(grouping, seed)) < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_trial_cuts_freeze_nothing_that_tracking_found(traced, name):
    assert find_safe_groups(traced(name)).groups == find_groups(traced(name)).groups


def test_nothing_removed_is_the_original(build, image, traced):
    model = build("resnet").eval()
    grouping = find_groups(traced("resnet"))
    with torch.no_grad():
        (replayed,) = gated(grouping, (image,), torch.ones(grouping.units))
        torch.testing.assert_close(replayed, model(image))


def test_a_masked_channel_is_zero_after_batch_norm_and_activation(build):
    """Zeroing a filter leaves act(beta) behind; masking must not. By hand on conv -> bn -> relu -> linear."""
    model = randomise(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)))
    model[1].bias.data.fill_(2.0)
    model.double().eval()
    x = torch.randn(2, 3, 1, 1).double()
    grouping = find_groups(trace(model, x))
    (masked,) = gated(grouping, (x,), mask(grouping, {"0": (0, 2, 3)}))
    hidden = model[:4](x)
    hidden[:, 1] = 0
    torch.testing.assert_close(masked, model[4](hidden))
    model[0].weight.data[1] = 0
    model[0].bias.data[1] = 0
    assert (model(x) - masked).abs().max() > 1e-3


def test_the_check_sees_a_wrong_cut(build, traced):
    """NHWC features cut with NCHW indices, as a well-known peer does, must not pass."""
    grouping = find_groups(traced("nhwc"))
    kept = {"conv": (0, 1, 2, 4, 5)}
    right = Plan.from_kept(grouping, kept)
    wrong = Plan.from_json(right.to_json())
    nchw = tuple(c * 36 + i for c in kept["conv"] for i in range(36))
    axes = tuple(type(a)(a.tensor, a.axis, a.size, nchw) if a.tensor == "head.weight" else a for a in wrong.axes)
    assert right.axes != axes
    assert require_equal(grouping, kept, right.apply(build("nhwc"))) < 1e-9
    with pytest.raises(RuntimeError, match="differs from the masked"):
        require_equal(grouping, kept, Plan(axes).apply(build("nhwc")))


def test_the_check_sees_nan(build, traced):
    grouping = find_groups(traced("conv"))
    broken = build("conv")
    broken.classifier[0].bias.data[0] = float("nan")
    with pytest.raises(RuntimeError, match="nan"):
        require_equal(grouping, {}, broken)


class RandomNet(nn.Module):
    """A stem and blocks drawn from: plain, residual, concatenating, depthwise, gated."""

    def __init__(self, width, blocks, flat):
        super().__init__()
        self.stem, self.norm, self.flat = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), flat
        self.kinds, self.blocks = [], nn.ModuleList()
        for kind, hidden, activation in blocks:
            groups = width if kind == "depthwise" else 1
            first = nn.Conv2d(width, width if kind == "depthwise" else hidden, 3, padding=1, groups=groups)
            out = {"gated": 1, "depthwise": hidden, "plain": hidden}.get(kind, width)
            self.blocks.append(nn.ModuleList([first, nn.Conv2d(first.out_channels, out, 1), nn.BatchNorm2d(out)]))
            self.kinds.append((kind, getattr(F, activation)))
            width = {"plain": hidden, "depthwise": hidden, "concat": 2 * width}.get(kind, width)
        self.head = nn.Linear(width * (16 if flat else 1), 3)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        for (kind, activation), (first, second, norm) in zip(self.kinds, self.blocks, strict=True):
            y = norm(second(activation(first(x))))
            if kind == "residual":
                x = activation(x + y)
            elif kind == "concat":
                x = torch.cat([y, x], dim=1)
            elif kind == "gated":
                x = x * torch.sigmoid(y)
            else:
                x = activation(y)
        x = F.adaptive_avg_pool2d(x, 4)
        x = x.permute(0, 2, 3, 1) if self.flat == "nhwc" else x
        return self.head(x.flatten(1) if self.flat else x.mean((2, 3)))


@settings(max_examples=8)
@given(
    width=st.integers(2, 6),
    blocks=st.lists(
        st.tuples(
            st.sampled_from(["plain", "residual", "concat", "depthwise", "gated"]),
            st.integers(2, 5),
            st.sampled_from(["relu", "silu", "gelu"]),
        ),
        max_size=3,
    ),
    flat=st.sampled_from(["", "nchw", "nhwc"]),
    seed=st.integers(0, 99),
)
def test_random_residual_networks(width, blocks, flat, seed):
    torch.manual_seed(seed)
    model = randomise(RandomNet(width, blocks, flat), seed)
    grouping = find_groups(trace(model, torch.randn(2, 3, 8, 8)))
    assert any(group.name.startswith(("stem", "norm")) for group in grouping.groups)
    assert difference_after_cut(grouping, random_kept(grouping, seed)) < 1e-9


def shuffled(x, groups):
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


STEPS = {
    "flip": lambda x: x.flip(1),
    "chunks in another order": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "shuffle": lambda x: shuffled(x, 2),
    "shuffle by four": lambda x: F.channel_shuffle(x, 4),
    "half twice": lambda x: torch.cat([F.glu(x, 1)] * 2, 1),
    "residual": lambda x: x + torch.tanh(x.roll(1, 2)),
    "running sum": lambda x: x.cumsum(1) / 8,
    "stack": lambda x: torch.stack(x.chunk(2, 1), 2).flatten(1, 2),
    "fold": lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2),
    "to the back and forth": lambda x: (
        F.silu(x.permute(0, 2, 3, 1).flatten(0, 2)).view(-1, 8, 8, 16).movedim(-1, 1) if x.shape[1] == 16 else x.neg()
    ),
    "half of the sum": lambda x: torch.cat([x.unflatten(1, (2, -1)).sum(1)] * 2, 1),
}


class Wrapped(nn.Module):
    """Convolution a, a function of the module and its input, convolution b."""

    def __init__(self, function):
        super().__init__()
        self.function, self.a, self.b = function, nn.Conv2d(3, 16, 1), nn.Conv2d(16, 3, 1)

    def forward(self, x):
        return self.function(self, x)


@settings(max_examples=8)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4), st.integers(0, 99))
def test_steps_in_any_order(steps, seed):
    """Sixteen channels through random steps that tie them in ever coarser ways: what is free is cut right."""

    def function(m, x):
        x = m.a(x)
        for step in steps:
            x = STEPS[step](x)
        return m.b(x)

    torch.manual_seed(seed)
    model = Wrapped(function)
    grouping = find_safe_groups(trace(model, torch.randn(2, 3, 8, 8)))
    assert grouping.groups or "to the back and forth" in steps, steps
    for number in range(2):
        assert difference_after_cut(grouping, random_kept(grouping, seed + number)) < 1e-9
