"""One small network per operation family: what it frees, what it keeps, and that every cut equals its mask."""

import math
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning import Plan, count_macs, difference_after_cut, find_safe_groups, macs_cost, trace
from pruning.testing import random_kept, randomise


class Net(nn.Module):
    """Layers, and a function that uses them."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.function(self, x)


@dataclass
class Case:
    """A network on input [2, *shape], and the groups it must have: name -> units."""

    function: object
    layers: object
    groups: dict
    shape: tuple = (3, 8, 8)


def conv(channels_in, channels, size=1, **options):
    return nn.Conv2d(channels_in, channels, size, **options)


def convs(**sizes):
    return {name: (lambda size=size: conv(*size)) for name, size in sizes.items()}


def between(function, groups, width=8, middle=8, **extra):
    """conv a -> function -> conv b; `middle` channels reach b."""
    layers = {"a": lambda: conv(3, width), "b": lambda: conv(middle, 5), **extra}
    return Case(lambda m, x: m.b(function(m, m.a(x))), layers, groups)


def parameter(*shape):
    return lambda: nn.Parameter(torch.randn(*shape))


def attend(m, x, q, k, v, heads, scale=None):
    """Attention of tokens [N, L, C] with the head dimension inferred."""
    q, k, v = (t.view(t.shape[0], t.shape[1], heads, -1).transpose(1, 2) for t in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, scale=scale)
    return m.out(y.transpose(1, 2).flatten(2))


def linears(**sizes):
    return {name: (lambda size=size: nn.Linear(*size)) for name, size in sizes.items()}


QKV = linears(q=(6, 12), k=(6, 12), v=(6, 12), out=(12, 6))


def by_hand(m, x):
    """Attention with the scale written out, as a static number."""
    q, k, v = (t.unflatten(-1, (3, -1)).transpose(1, 2) for t in (m.q(x), m.k(x), m.v(x)))
    return m.out(((q @ k.transpose(-2, -1)) / math.sqrt(4) + m.bias).softmax(-1).matmul(v).transpose(1, 2).flatten(2))


def heads_of(m, x, size=4):
    """Attention with the number of heads inferred: whole heads can go."""
    q, k, v = (t.view(t.shape[0], t.shape[1], -1, size).transpose(1, 2) for t in (m.q(x), m.k(x), m.v(x)))
    return m.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape[0], x.shape[1], -1))


def masked_attention(m, x):
    """A learnt mask per head, and a scale given by hand."""
    q, k, v = (t.view(t.shape[0], t.shape[1], 3, -1).transpose(1, 2) for t in (m.q(x), m.k(x), m.v(x)))
    return m.out(F.scaled_dot_product_attention(q, k, v, m.mask, scale=0.3).transpose(1, 2).flatten(2))


def shared_heads(m, x):
    """Four heads of queries on two of keys: heads cannot go one by one."""
    q, k, v = (t.view(t.shape[0], t.shape[1], -1, 4).transpose(1, 2) for t in (m.q(x), m.k(x), m.v(x)))
    return m.out(F.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2).flatten(2))


def packed(m, x):
    """One linear layer for q, k and v."""
    q, k, v = m.qkv(x).chunk(3, dim=-1)
    return attend(m, x, q, k, v, 3, scale=0.5)


def shuffle(m, x):
    """ShuffleNet's idiom, by hand."""
    x = m.a(x)
    n, c, h, w = x.shape
    return m.b(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))


def shuffle_unit(m, x):
    """Two ShuffleNetV2 units: split, transform one half, concatenate, shuffle."""
    x = m.a(x)
    for hidden, back in ((m.h, m.i), (m.j, m.k)):
        left, right = x.chunk(2, dim=1)
        x = torch.cat((left, F.relu(back(F.relu(hidden(right))))), dim=1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
    return m.b(x)


def split_by_layers(m, x):
    """Sizes taken from the layers behind: right whatever each piece loses."""
    one, two = torch.split(m.a(x), [m.b.in_channels, m.c.in_channels], dim=1)
    return m.b(one) + m.c(two)


def reordered(m, x):
    """Split, then concatenated in another order."""
    one, two, three = m.a(x).chunk(3, 1)
    return m.b(torch.cat([three, one, two, one], 1))


def block(m, x):
    """A ConvNeXt block: normalised residual stream, free expansion."""
    x = m.stem(x)
    y = m.norm(m.depth(x).permute(0, 2, 3, 1))
    return m.head(x + (m.scale * m.down(F.gelu(m.up(y)))).permute(0, 3, 1, 2))


CASES = {
    # norms
    "group norm": between(lambda m, x: F.silu(m.n(x)), {"a": 4}, n=lambda: nn.GroupNorm(4, 8)),
    "group norm per channel": between(lambda m, x: m.n(x), {"a": 8}, n=lambda: nn.GroupNorm(8, 8)),
    "group norm of one group": between(lambda m, x: m.n(x), {}, n=lambda: nn.GroupNorm(1, 8)),
    "group norm without scale": between(lambda m, x: m.n(x), {}, n=lambda: nn.GroupNorm(4, 8, affine=False)),
    "functional group norm": between(lambda m, x: F.group_norm(x, 4, m.w), {}, w=parameter(8)),
    "native group norm": between(
        lambda m, x: torch.native_group_norm(x, m.n.weight, m.n.bias, *x.shape[:2], 64, m.n.num_groups, 1e-5)[0],
        {"a": 4},
        n=lambda: nn.GroupNorm(4, 8),
    ),
    "group norm, then groups": between(
        lambda m, x: m.c(m.n(x)), {"a": 2, "c": 4}, n=lambda: nn.GroupNorm(4, 8), c=lambda: conv(8, 8, groups=2)
    ),
    "instance norm": between(lambda m, x: m.n(x), {"a": 8}, n=lambda: nn.InstanceNorm2d(8, affine=True)),
    "plain instance norm": between(lambda m, x: m.n(x), {"a": 8}, n=lambda: nn.InstanceNorm2d(8)),
    "layer norm": between(lambda m, x: m.n(x.transpose(1, 3)).transpose(1, 3), {}, n=lambda: nn.LayerNorm(8)),
    "rms norm": between(lambda m, x: m.n(x.transpose(1, 3)).transpose(1, 3), {}, n=lambda: nn.RMSNorm(8)),
    "layer norm over space": between(lambda m, x: m.n(x), {"a": 8}, n=lambda: nn.LayerNorm([8, 8])),
    "convnext block": Case(
        block,
        {
            "stem": lambda: conv(3, 6),
            "depth": lambda: conv(6, 6, 3, padding=1, groups=6),
            "norm": lambda: nn.LayerNorm(6),
            "head": lambda: conv(6, 4),
            "scale": parameter(6),
            **linears(up=(6, 24), down=(24, 6)),
        },
        {"up": 24},
    ),
    # taking apart, putting together, changing order
    "chunk": between(lambda m, x: torch.mul(*x.chunk(2, 1)), {"a": 4}, middle=4),
    "chunk in another order": Case(reordered, convs(a=(3, 9), b=(12, 5)), {"a": 3}),
    "split with numbers": between(lambda m, x: x.split([2, 6], 1)[1], {}, middle=6),
    "split by layers": Case(
        split_by_layers,
        convs(a=(3, 8), b=(3, 5), c=(5, 5)),
        {"a": 3, "a#2": 5},
    ),
    "equal split by layers": Case(
        split_by_layers,
        convs(a=(3, 8), b=(4, 5), c=(4, 5)),
        {"a": 4},
    ),
    "pieces of a written size, swapped": between(lambda m, x: torch.cat(x.split(4, 1)[::-1], 1), {}),
    "last piece of a written size": Case(
        lambda m, x: m.b(m.a(x).split(4, 1)[0]) + m.c(m.a(x).split(4, 1)[1]),
        convs(a=(3, 8), b=(4, 5), c=(4, 5)),
        {"a#2": 4},
    ),
    "uneven chunks": between(lambda m, x: torch.cat(x.chunk(3, 1)[::-1], 1), {}),
    "glu": between(lambda m, x: F.glu(x, 1), {"a": 4}, middle=4),
    "unbind rows": between(lambda m, x: torch.stack(x.unbind(2)[::-1], 2), {"a": 8}),
    "unbind channels": between(lambda m, x: torch.stack(x.unbind(1), 1), {}),
    "stack and flatten": between(lambda m, x: torch.stack([x, -x], 2).flatten(1, 2), {"a": 8}, middle=16),
    "stack in front and flatten": between(lambda m, x: torch.stack([x, -x], 1).flatten(1, 2), {"a": 8}, middle=16),
    "roll rows": between(lambda m, x: x.roll((1, -1), (2, 3)), {"a": 8}),
    "roll channels": between(lambda m, x: x.roll(2, 1), {}),
    "flip": between(lambda m, x: torch.cat([x.flip(1), x], 1), {"a": 8}, middle=16),
    "cumsum": between(lambda m, x: x.cumsum(1), {"a": 8}),
    "repeat": between(lambda m, x: x.repeat(1, 2, 1, 1), {"a": 8}, middle=16),
    "tile": between(lambda m, x: x.tile(2, 1, 1), {"a": 8}, middle=16),
    "repeat_interleave": between(lambda m, x: x.repeat_interleave(2, 1), {"a": 8}, middle=16),
    "index channels": between(lambda m, x: x[:, torch.tensor([2, 1, 7, 0])], {}, middle=4),
    "index rows": between(lambda m, x: x[:, :, torch.tensor([2, 1])], {"a": 8}),
    "pixel shuffle": between(lambda m, x: F.pixel_shuffle(x, 2), {"a": 2}, middle=2),
    "pixel unshuffle": between(lambda m, x: F.pixel_unshuffle(x, 2), {"a": 8}, middle=32),
    "channel shuffle": between(lambda m, x: F.channel_shuffle(x, 2), {"a": 4}),
    "shuffle by hand": Case(shuffle, convs(a=(3, 8), b=(8, 5)), {"a": 4}),
    "shufflenet": Case(
        shuffle_unit,
        convs(a=(3, 16), h=(8, 7), i=(7, 8), j=(8, 6), k=(6, 8), b=(16, 5)),
        {"h": 7, "j": 6, "a": 4},
    ),
    "view to slots": between(lambda m, x: x.view(x.shape[0], 2, -1, 8, 8).sum(1), {"a": 4}, middle=4),
    "view to parts": between(lambda m, x: x.view(x.shape[0], -1, 2, 8, 8).amax(2), {"a": 4}, middle=4),
    "view written out": between(lambda m, x: x.view(-1, 32).view(-1, 8, 8, 8), {}),
    # transposed convolutions
    "transposed": between(lambda m, x: m.t(x), {"a": 8, "t": 6}, middle=6, t=lambda: nn.ConvTranspose2d(8, 6, 3, 2)),
    "transposed, few groups": between(
        lambda m, x: m.t(x), {"a": 4, "t": 3}, middle=6, t=lambda: nn.ConvTranspose2d(8, 6, 2, groups=2)
    ),
    "transposed, many groups": between(
        lambda m, x: F.relu(m.t(x)), {"a": 4}, middle=12, t=lambda: nn.ConvTranspose2d(8, 12, 3, groups=4)
    ),
    "transposed depthwise": between(
        lambda m, x: m.t(x), {"a": 8}, t=lambda: nn.ConvTranspose2d(8, 8, 3, groups=8, bias=False)
    ),
    # products
    "einsum": Case(
        lambda m, x: torch.einsum("nchw,cd->ndhw", m.a(x), m.w).amax((2, 3)) @ m.v,
        {"a": lambda: conv(3, 8), "w": parameter(8, 7), "v": parameter(7, 5)},
        {"a": 8, "w": 7},
    ),
    "einsum of one": between(lambda m, x: x * torch.einsum("nchw->n", x)[:, None, None, None], {"a": 8}),
    "einsum gate": between(lambda m, x: torch.einsum("nchw,c->nchw", x, m.w), {"a": 8}, w=parameter(8)),
    "einsum diagonal": between(lambda m, x: x * torch.einsum("nchh->nc", x)[..., None, None], {}),
    "gram": Case(
        lambda m, x: m.b(torch.einsum("nchw,ndhw->ncd", m.a(x), m.a(x)).flatten(1)),
        {"a": lambda: conv(3, 4), "b": lambda: nn.Linear(16, 5)},
        {},
    ),
    "addmm": Case(
        lambda m, x: m.b(torch.addmm(m.o, m.a(x.flatten(1)), m.w)),
        {"w": parameter(8, 7), "o": parameter(7), **linears(a=(192, 8), b=(7, 5))},
        {"a": 8, "w": 7},
    ),
    "matrix times vector": Case(
        lambda m, x: m.a(x.flatten(1)) @ m.w,
        {"w": parameter(8), **linears(a=(192, 8))},
        {"a": 8},
    ),
    "embedding": Case(
        lambda m, x: m.b(F.relu(m.e((x > 0).long()).mean((1, 2, 3)))),
        {"e": lambda: nn.Embedding(2, 8), "b": lambda: nn.Linear(8, 5)},
        {"e": 8},
    ),
    # element-wise
    "normalise": between(lambda m, x: F.normalize(x, dim=1), {"a": 8}),
    "cosine gate": between(lambda m, x: x / (1 + torch.linalg.vector_norm(x, dim=1, keepdim=True)), {"a": 8}),
    "largest in space": between(
        lambda m, x: x.max(2, keepdim=True)[0] * x.flatten(2).min(-1)[0][..., None, None], {"a": 8}
    ),
    "largest channel": between(lambda m, x: x - x.max(1, keepdim=True)[0], {}),
    "larger of two": between(lambda m, x: torch.max(x, -x).clamp(max=x.max()), {}),
    "masked": between(lambda m, x: x.masked_fill(x.sum(1, keepdim=True) > 0, 0.5), {"a": 8}),
    "zeros beside": between(lambda m, x: torch.where(x > 0, x, torch.zeros_like(x)), {"a": 8}),
    "expanded gate": between(
        lambda m, x: x * m.g(x).sigmoid().expand(-1, x.shape[1], -1, -1), {"a": 8}, g=lambda: conv(8, 1)
    ),
    "gate expanded to a number": between(
        lambda m, x: x * m.g(x).sigmoid().expand(-1, 8, -1, -1), {}, g=lambda: conv(8, 1)
    ),
    "constant of its size": between(lambda m, x: x * torch.full((x.shape[1], 1, 1), 0.5), {"a": 8}),
    "ones and zeros in a row": between(
        lambda m, x: x * torch.cat([torch.ones(4, 1, 1), torch.zeros(x.shape[1] - 4, 1, 1)]), {}
    ),
    "counting up": between(lambda m, x: x * torch.ones(x.shape[1]).cumsum(0)[:, None, None], {}),
    # attention
    "attention with a scale": Case(
        lambda m, x: attend(m, x, m.q(x), m.k(x), m.v(x), 3, scale=0.5), QKV, {"q": 4, "v": 4}, (5, 6)
    ),
    "attention without": Case(lambda m, x: attend(m, x, m.q(x), m.k(x), m.v(x), 3), QKV, {"v": 4}, (5, 6)),
    "masked attention": Case(masked_attention, {**QKV, "mask": parameter(3, 5, 5)}, {"q": 4, "v": 4}, (5, 6)),
    "heads shared by queries": Case(shared_heads, linears(q=(6, 16), k=(6, 8), v=(6, 8), out=(16, 6)), {}, (5, 6)),
    "attention by whole heads": Case(heads_of, QKV, {"q": 3}, (5, 6)),
    "attention by hand": Case(by_hand, {**QKV, "bias": parameter(3, 5, 5)}, {"q": 4, "v": 4}, (5, 6)),
    "packed attention": Case(packed, linears(qkv=(6, 36), out=(12, 6)), {"qkv": 4}, (5, 6)),
    "module attention": Case(
        lambda m, x: m.down(F.gelu(m.up(m.t(x, x, x, need_weights=False)[0]))),
        {"t": lambda: nn.MultiheadAttention(6, 2, batch_first=True), **linears(up=(6, 9), down=(9, 4))},
        {"t.out_proj": 6, "up": 9},
        (5, 6),
    ),
    "encoder layer": Case(
        lambda m, x: m.t(x),
        {"t": lambda: nn.TransformerEncoderLayer(6, 2, 10, batch_first=True, norm_first=True)},
        {"t.linear1": 10},
        (5, 6),
    ),
}


def recurrent(layer, groups, function=lambda m, x: m.b(F.relu(m.a(m.e(x))[0])), wide=8, **extra):
    """tokens -> linear e -> recurrent layer a -> linear b."""
    layers = {"e": lambda: nn.Linear(6, 4), "a": layer, "b": lambda: nn.Linear(wide, 5), **extra}
    return Case(function, layers, groups, (3, 6))


def last_state(m, x):
    """Classify by the last hidden state."""
    return m.b(m.a(m.e(x))[1][0][-1])


def chained(m, x):
    """A decoder that starts from the states of an encoder."""
    y, state = m.a(m.e(x))
    return m.b(m.d(y, state)[0])


CASES |= {
    "lstm": recurrent(lambda: nn.LSTM(4, 8, batch_first=True), {"e": 4, "a.weight_ih_l0": 8}),
    "deep two-way lstm": recurrent(
        lambda: nn.LSTM(4, 4, 2, batch_first=True, bidirectional=True), {"e": 4, "a.weight_ih_l0": 4}
    ),
    "lstm without bias": recurrent(lambda: nn.LSTM(4, 8, bias=False), {"e": 4, "a.weight_ih_l0": 8}),
    "projected lstm": recurrent(lambda: nn.LSTM(4, 9, proj_size=8), {}),
    "deep gru": recurrent(lambda: nn.GRU(4, 8, 2, batch_first=True), {"e": 4, "a.weight_ih_l0": 8}),
    "rnn": recurrent(lambda: nn.RNN(4, 8, nonlinearity="relu"), {"e": 4, "a.weight_ih_l0": 8}),
    "last state": recurrent(lambda: nn.LSTM(4, 8, batch_first=True), {"e": 4, "a.weight_ih_l0": 8}, last_state),
    "encoder and decoder": recurrent(
        lambda: nn.GRU(4, 8, batch_first=True),
        {"e": 4, "a.weight_ih_l0": 8},
        chained,
        d=lambda: nn.GRU(8, 8, batch_first=True),
    ),
}


def built(case):
    torch.manual_seed(5)
    layers = {name: make() for name, make in case.layers.items()}
    return randomise(Net(case.function, **layers)), torch.randn(2, *case.shape)


@cache
def grouped(name):
    """The groups of a case; exported once, for all tests of that case."""
    return find_safe_groups(trace(*built(CASES[name])))


@pytest.mark.parametrize("name", CASES)
def test_family(name):
    """Groups as expected, random cuts equal their masks, and MACs are predicted right."""
    case = CASES[name]
    model, example = built(case)
    grouping = grouped(name)
    assert {group.name: group.size for group in grouping.groups} == case.groups
    cost = macs_cost(grouping, count_macs(model, example))
    for seed in range(2):
        kept = random_kept(grouping, seed)
        assert difference_after_cut(grouping, kept) < 1e-9
        smaller = Plan.from_kept(grouping, kept).apply(built(case)[0])
        assert cost({n: len(k) for n, k in kept.items()}) == pytest.approx(count_macs(smaller, example), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "group", "slot", "indices"),
    [
        ("pixel shuffle", "a", ("a.weight", 0), (4, 5, 6, 7)),
        ("chunk in another order", "a", ("b.weight", 1), (1, 4, 7, 10)),
        ("channel shuffle", "a", ("b.weight", 1), (2, 3)),
        ("channel shuffle", "a", ("a.weight", 0), (1, 5)),
        ("group norm", "a", ("n.weight", 0), (2, 3)),
        ("transposed, many groups", "a", ("b.weight", 1), (3, 4, 5)),
        ("transposed, few groups", "t", ("t.weight", 1), (1,)),
        ("transposed, few groups", "t", ("b.weight", 1), (1, 4)),
        ("lstm", "a.weight_ih_l0", ("a.weight_ih_l0", 0), (1, 9, 17, 25)),
        ("lstm", "a.weight_ih_l0", ("a.weight_hh_l0", 1), (1,)),
        ("deep two-way lstm", "a.weight_ih_l0", ("a.weight_ih_l1_reverse", 1), (1, 5)),
        ("attention by whole heads", "q", ("out.weight", 1), (4, 5, 6, 7)),
        ("packed attention", "qkv", ("qkv.weight", 0), (1, 5, 9, 13, 17, 21, 25, 29, 33)),
    ],
)
def test_second_unit_owns(name, group, slot, indices):
    """Golden positions, by hand."""
    grouping = grouped(name)
    members = {(m.tensor, m.axis): m.indices for g in grouping.groups if g.name == group for m in g.members}
    assert members[slot][1] == indices


@pytest.mark.parametrize(
    ("name", "layer", "shown"),
    [
        ("group norm", "n", "GroupNorm(2, 4"),
        ("transposed, many groups", "t", "ConvTranspose2d(4, 6, kernel_size=(3, 3), stride=(1, 1), groups=2)"),
        ("transposed", "t", "ConvTranspose2d(4, 3"),
        ("lstm", "a", "LSTM(2, 4"),
        ("embedding", "e", "Embedding(2, 4)"),
    ],
)
def test_layer_sizes_follow_the_cut(name, layer, shown):
    """The attributes that layers compute with, and print."""
    grouping = grouped(name)
    kept = {group.name: tuple(range(group.size // 2)) for group in grouping.groups}
    assert shown in repr(getattr(Plan.from_kept(grouping, kept).apply(built(CASES[name])[0]), layer))
