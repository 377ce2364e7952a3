"""pruning.functional: no in-place operation is left, the values are the network's, plain graphs are not retraced."""

import pytest
import torch
from torch import nn
from torch.export import ExportedProgram

from pruning import find_groups, trace
from pruning.replay import replay


class Net(nn.Module):
    """A convolution with something behind it."""

    def __init__(self, tail):
        super().__init__()
        self.conv, self.norm, self.tail = nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), tail

    def forward(self, x):
        return self.tail(self.norm(self.conv(x)))


def residual(y):
    z = torch.relu(y) * 2
    z += y
    return z.relu_()


def read_twice_after(y):
    z = y * 2
    z.add_(1)
    z.mul_(3)
    return z + torch.sigmoid(z)


def written_behind_a_view(y):
    z = y * 2
    flat = z.flatten(1)
    z.relu_()
    return flat + 1


def written_through_a_slice(y):
    z = y * 2
    z[:, 1:3] = 0.5
    return z


def written_before_the_old_value_is_read_elsewhere(y):
    half = y[:, :2]
    y.relu_()
    return half.sum(1) + y.sum(1)


def dropped(y):
    return nn.functional.dropout(nn.functional.hardswish(y, inplace=True), 0.5, training=False, inplace=True)


def a_view_nobody_else_reads(y):
    return (y * 2).reshape(y.shape[0], 2, -1).relu_().flatten(1)


def moved(y):
    return torch.movedim(y, 1, -1).mT


PLAIN = [residual, read_twice_after, dropped, a_view_nobody_else_reads]
RETRACED = [
    written_behind_a_view,
    written_through_a_slice,
    written_before_the_old_value_is_read_elsewhere,
    moved,
]


@pytest.fixture
def retraced(monkeypatch):
    """How often a program was decomposed, that is traced once more."""
    calls = []
    original = ExportedProgram.run_decompositions

    def counted(self, *arguments):
        calls.append(self)
        return original(self, *arguments)

    monkeypatch.setattr(ExportedProgram, "run_decompositions", counted)
    return calls


@pytest.mark.parametrize("tail", [*PLAIN, *RETRACED])
def test_values_are_the_networks_and_nothing_is_written_in_place(retraced, tail):
    model, images = Net(tail).eval(), torch.randn(3, 2, 4, 4)
    traced = trace(model, images[:2])
    assert bool(retraced) == (tail in RETRACED)
    targets = [node.target for node in traced.program.graph.nodes if node.op == "call_function"]
    assert not [target for target in targets if getattr(getattr(target, "_schema", None), "is_mutable", False)]
    seen = []

    def note(node, value):
        if isinstance(value, torch.Tensor):
            seen.append((value, value.clone()))
        return value

    with torch.no_grad():
        (got,) = replay(traced, (images,), edit=note)
        torch.testing.assert_close(got, model(images))
    assert seen and all(torch.equal(value, then) for value, then in seen)


class WritesItsInput(nn.Module):
    def forward(self, x):
        x.mul_(2)
        return x + 1


class WritesItsBuffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen += 1
        return x + self.seen


@pytest.mark.parametrize("model", [WritesItsInput(), WritesItsBuffer()])
def test_what_belongs_to_others_is_never_renamed(retraced, model):
    trace(model, torch.randn(2, 3))
    assert retraced


def test_a_write_that_keeps_its_type_is_not_turned_into_one_that_promotes(retraced):
    trace(Net(lambda y: y.mul_(torch.ones(4, 1, 1, dtype=torch.float64))), torch.randn(2, 2, 4, 4))
    assert retraced


def test_an_operation_on_a_list_is_named_where_it_has_no_rule():
    def tail(y):
        torch._foreach_add_([y], 1.0)
        return y

    grouping = find_groups(trace(Net(tail), torch.randn(2, 2, 4, 4)))
    assert any("no rule for aten._foreach_add" in entry.reason for entry in grouping.frozen)


def test_what_no_output_needs_is_no_part_of_the_graph():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Conv2d(2, 4, 1), nn.Conv2d(2, 3, 1)

        def forward(self, x):
            torch.relu_(self.idle(x) + 1)
            return torch.relu_(self.used(x))

    program = trace(Idle(), torch.randn(2, 2, 3, 3)).program
    operations = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert operations == ["aten.conv2d.default", "aten.relu.default"]
