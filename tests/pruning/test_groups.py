"""Golden groups: which channels go together, and why others stay."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning import find_groups, find_safe_groups, trace


def groups_of(traced, **options):
    grouping = find_groups(traced, **options)
    return grouping, {group.name: group for group in grouping.groups}


def slots(group):
    return {(member.tensor, member.axis) for member in group.members}


def test_option_a_shortcut_shifts_channels_and_freezes_the_padding(traced):
    """Width 8, 16, 32: channel j of stage 1 is channel 4 + j of stage 2 and 8 + 4 + j of stage 3."""
    grouping, groups = groups_of(traced("resnet"))
    stream = groups["conv1"]
    found = {(m.tensor, m.axis): m.indices for m in stream.members}
    assert stream.size == 8
    assert found["conv1.weight", 0] == tuple((j,) for j in range(8))
    assert found["blocks.1.bn2.running_var", 0] == tuple((4 + j,) for j in range(8))
    assert found["linear.weight", 1] == tuple((12 + j,) for j in range(8))
    padded = [f for f in grouping.frozen if "pad" in f.reason]
    # Stage 2 freezes 4 + 4, which travel on into stage 3, where 8 + 8 more are frozen.
    assert [(f.tensor, f.count, f.size) for f in padded] == [
        ("blocks.1.conv2.weight", 8, 16),
        ("blocks.2.conv2.weight", 16, 32),
    ]
    assert {g.name for g in grouping.groups} == {"conv1"} | {f"blocks.{i}.conv1" for i in range(3)}


def test_flatten_repeats_channels_in_memory_order(traced):
    _, nchw = groups_of(traced("conv"))
    _, nhwc = groups_of(traced("nhwc"))
    first = {(m.tensor, m.axis): m.indices for m in nchw["features.4"].members}["classifier.0.weight", 1]
    last = {(m.tensor, m.axis): m.indices for m in nhwc["conv"].members}["head.weight", 1]
    assert first[1] == (4, 5, 6, 7)
    assert last[1] == tuple(range(1, 216, 6))


def test_concatenation_keeps_branches_apart(traced):
    _, groups = groups_of(traced("concat"))
    assert {name: group.size for name, group in groups.items()} == {"stem": 6, "left": 4, "right": 7, "merge": 8}
    found = {(m.tensor, m.axis): m.indices for m in groups["right"].members}
    assert found["norm.weight", 0] == tuple((10 + j,) for j in range(7))
    assert found["head.weight", 1] == tuple((18 + j,) for j in range(7))


def test_grouped_convolutions(traced):
    grouping, groups = groups_of(traced("grouped"))
    # depthwise 8 -> 16 feeds 8 groups of 2 -> 3: one unit is a whole group from stem to mix.
    assert groups["stem"].size == 8
    found = {(m.tensor, m.axis): m.indices for m in groups["stem"].members}
    assert found["depthwise.weight", 0][1] == (2, 3) and found["many.weight", 0][1] == (3, 4, 5)
    assert found["mix.weight", 1][1] == (3, 4, 5)
    # few: 2 groups of 8 -> 6: slot j of both groups goes together.
    assert groups["mix"].size == 8 and groups["few"].size == 6
    few = {(m.tensor, m.axis): m.indices for m in groups["mix"].members}
    assert few["mix.weight", 0][3] == (3, 11) and few["few.weight", 1][3] == (3,)
    assert dict(grouping.whole_groups) == {"depthwise.weight": 8, "many.weight": 8}


def test_a_one_channel_gate_does_not_freeze_what_it_gates(traced):
    _, groups = groups_of(traced("gates"))
    assert groups["conv"].size == 8
    assert {("scale", 1), ("gate.weight", 1), ("excite.weight", 0), ("expand.bias", 0)} <= slots(groups["conv"])


def test_raw_parameters_and_tied_weights_are_followed(traced):
    _, groups = groups_of(traced("matmul"))
    assert slots(groups["middle"]) == {("middle", 1), ("offset", 0), ("head.weight", 1)}
    _, groups = groups_of(traced("tied"))
    assert slots(groups["stem"]) >= {("loop.weight", 0), ("loop.weight", 1)}


def test_outputs_and_inputs_are_frozen_with_their_reason(traced):
    grouping, groups = groups_of(traced("conv"))
    reasons = {(f.tensor, f.axis): f.reason for f in grouping.frozen}
    assert reasons == {("features.0.weight", 1): "network input", ("classifier.3.weight", 0): "network output"}
    assert "classifier.3" not in groups


def test_an_intermediate_output_is_frozen(image):
    class TwoOutputs(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)

        def forward(self, x):
            x = self.a(x)
            return {"features": x, "scores": self.b(x)}

    grouping, groups = groups_of(trace(TwoOutputs(), image))
    assert not groups
    assert {f.reason for f in grouping.frozen} == {"network input", "network output"}


class Wrapped(nn.Module):
    """conv -> some function -> conv."""

    def __init__(self, function, channels=6):
        super().__init__()
        self.function, self.a, self.b = function, nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(channels, 5, 1)

    def forward(self, x):
        return self.b(self.function(self.a(x)))


@pytest.mark.parametrize(
    ("function", "channels", "reason"),
    [
        (lambda x: torch.cumprod(x, 1), 6, "no rule for aten.cumprod"),
        (lambda x: F.group_norm(x, 3), 6, "averaged over by aten.group_norm"),
        (lambda x: F.softmax(x, 1), 6, "mixed by aten.softmax"),
        (lambda x: x - x.mean(1, keepdim=True), 6, "reduced by aten.mean"),
        (lambda x: x[:, 1:4], 3, "sliced by aten.slice"),
        (lambda x: F.pad(x, (0, 0, 0, 0, -2, 0)), 4, "padding of fixed width"),
        (lambda x: F.conv2d(x, torch.ones(6, 6, 1, 1)), 6, "constant of a size written out"),
        (lambda x: x * torch.arange(6.0).view(1, 6, 1, 1), 6, "constant made by aten.arange"),
        (lambda x: x.split([2, 1, 3], 1)[2], 3, "fixed in the network"),
        (lambda x: x.view(x.shape[0], 3, 2, 8, 8).flatten(1, 2), 6, "fixed in the network"),
        (lambda x: x.transpose(1, 2).flatten(1, 2).unflatten(1, (8, 6)).transpose(1, 2), 6, "fixed in the network"),
        (lambda x: x.transpose(1, 3), 8, "window|kernel|spatial"),
    ],
)
def test_operations_that_cannot_be_pruned_through_freeze_and_say_so(image, function, channels, reason):
    grouping = find_safe_groups(trace(Wrapped(function, channels), image))
    assert not [group for group in grouping.groups if group.name == "a"], reason
    frozen = [f.reason for f in grouping.frozen if f.tensor == "a.weight" and f.axis == 0]
    assert frozen
    assert re.search(reason, frozen[0]), frozen


class Static(nn.Module):
    def __init__(self, flatten):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3), nn.Linear(4 * 16, 5)
        self.flatten = flatten

    def forward(self, x):
        return self.c(self.flatten(F.relu(self.b(F.relu(self.a(x))))))


@pytest.mark.parametrize(
    ("flatten", "free"),
    [
        (lambda x: x.view(-1, 64), False),
        (lambda x: x.reshape(x.shape[0], 4, 16).flatten(1), False),
        (lambda x: x.view(x.shape[0], -1), True),
        (lambda x: x.view(x.shape[0], x.shape[1] * x.shape[2] * x.shape[3]), True),
    ],
)
def test_sizes_written_out_in_the_code_are_found_by_trial(image, flatten, free):
    grouping = find_safe_groups(trace(Static(flatten), image))
    assert {group.name for group in grouping.groups} == ({"a", "b"} if free else {"a"})
    if not free:
        (entry,) = [f for f in grouping.frozen if f.tensor == "b.weight"]
        assert "size fixed in the network's code" in entry.reason and entry.count == 4


def test_a_network_in_double_precision_is_tried_as_it_is(image):
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 1), nn.Linear(6, 5)

        def forward(self, x):
            return self.b(self.a(x).mean((2, 3))) @ torch.eye(5, dtype=torch.float64)

    grouping = find_safe_groups(trace(Doubled().double(), image.double()))
    assert {group.name for group in grouping.groups} == {"a"}


def test_padding_computed_from_the_channels_is_not_taken_for_static(image):
    class Dynamic(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 1), nn.Conv2d(8, 5, 1)

        def forward(self, x):
            x = self.a(x)
            half = x.shape[1] // 2
            return self.c(self.b(x) + F.pad(x, (0, 0, 0, 0, half, half)))

    grouping = find_safe_groups(trace(Dynamic(), image))
    assert "a" not in {group.name for group in grouping.groups}


def test_a_number_computed_from_the_channels_is_found_even_behind_a_zero(image):
    """x / channels: the cut network divides by less. Branches that start at zero must not hide it."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.n, self.c = (
                nn.Conv2d(3, 6, 1),
                nn.Conv2d(6, 4, 1),
                nn.BatchNorm2d(4),
                nn.Conv2d(4, 5, 1),
            )
            nn.init.zeros_(self.n.weight)

        def forward(self, x):
            y = self.a(x)
            return self.c(self.n(torch.tanh(self.b(y / y.shape[1]))))

    grouping = find_safe_groups(trace(Scaled(), image))
    assert {group.name for group in grouping.groups} == {"b"}
    (entry,) = [f for f in grouping.frozen if f.tensor == "a.weight" and f.axis == 0]
    assert entry.reason.startswith("a trial cut changes the result by")


def test_ignored_layers_keep_their_outputs(traced):
    grouping, groups = groups_of(traced("conv"), ignore=["features.4", "classifier.*"])
    assert set(groups) == {"features.0"}
    assert "ignored by the user (features.4)" in {f.reason for f in grouping.frozen}


def test_an_unmatched_ignore_pattern_is_an_error(traced):
    with pytest.raises(ValueError, match=r"'layer9' matches no layer; layers: .*features\.0"):
        groups_of(traced("conv"), ignore=["layer9"])


def test_data_dependent_control_flow_is_refused_by_reason(image):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return self.a(x) if x.sum() > 0 else self.a(-x)

    with pytest.raises(ValueError, match=r"Branching cannot be exported.*torch.export says: "):
        trace(Branching(), image)


@pytest.mark.parametrize("bad", [None, torch.tensor(1.0), (torch.ones(2, 3), torch.ones(3, 3)), torch.ones(0, 3), ()])
def test_bad_examples(build, bad):
    with pytest.raises(ValueError, match="example_input"):
        trace(build("conv"), bad if bad is not None else (None,))


def test_a_batch_of_one_is_enough(build, image, traced):
    assert groups_of(trace(build("conv"), image[:1]))[1].keys() == groups_of(traced("conv"))[1].keys()
