"""benchmarks.pruning_coverage: the judge of cuts, what an end without a result is called, and the summary."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn

import benchmarks._pruning_measure as measure
from benchmarks._pruning_engines import Cut
from benchmarks._pruning_judge import judge, relative, survivors
from benchmarks._pruning_zoo import Network, networks
from benchmarks.pruning_coverage import network_row, summary


class Net(nn.Module):
    """A bottleneck of six channels behind a normalisation."""

    def __init__(self, norm):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 6), norm, nn.Linear(6, 3)

    def forward(self, x):
        return self.last(torch.relu(self.norm(self.first(x))))


def shortened(tensor, kept, axis=0):
    return nn.Parameter(tensor.detach().index_select(axis, torch.tensor(kept)))


def cut(model, made, read, normed=None):
    """Keeps the channels `made` of the first layer and the columns `read` of the last."""
    model.first.weight, model.first.bias = shortened(model.first.weight, made), shortened(model.first.bias, made)
    model.last.weight = shortened(model.last.weight, read, 1)
    for name in ("weight", "bias") if not isinstance(model.norm, nn.Identity) else ():
        setattr(model.norm, name, shortened(getattr(model.norm, name), made))
    if isinstance(model.norm, nn.LayerNorm):
        model.norm.normalized_shape = (len(made),)
    return model


def verdict(norm, made, read):
    dense = Net(norm)
    for parameter in dense.parameters():
        nn.init.normal_(parameter)
    return judge(dense, cut(copy.deepcopy(dense), made, read), lambda twin: cut(twin, made, read), torch.zeros(64, 4))


def test_a_right_cut_agrees_and_would_show_if_it_were_wrong():
    found = verdict(nn.Identity(), [0, 2, 5], [0, 2, 5])
    assert found.difference < 1e-12 and found.effect > 0.01 and not found.renormalised


@pytest.mark.parametrize("read", [[0, 2, 4], [1, 3, 4], [3, 4, 5]])
def test_a_reader_that_lost_other_channels_is_found_out(read):
    assert verdict(nn.Identity(), [0, 2, 5], read).difference > 1e-3


def test_a_narrowed_layer_norm_is_right_only_as_one_that_averages_over_fewer():
    found = verdict(nn.LayerNorm(6), [0, 2, 5], [0, 2, 5])
    assert found.difference < 1e-12 and found.renormalised
    assert verdict(nn.LayerNorm(6), [0, 2, 5], [0, 2, 4]).difference > 1e-3


def test_survivors_are_positions_in_the_dense_network():
    kept = survivors(Net(nn.Identity()), lambda twin: cut(twin, [1, 4], [1, 4]))
    assert kept["first.weight"].tolist() == [[4, 5, 6, 7], [16, 17, 18, 19]]
    assert kept["last.weight"].tolist() == [[1, 4], [7, 10], [13, 16]] and kept["last.bias"].tolist() == [0, 1, 2]


def test_nan_is_no_agreement_and_other_shapes_are_refused():
    assert math.isnan(relative([torch.ones(2)], [torch.tensor([1.0, math.nan])]))
    with pytest.raises(ValueError, match=r"returns shapes \[\[3\]\], the dense one \[\[2\]\]"):
        relative([torch.ones(2)], [torch.ones(3)])


class Tiny(Network):
    """No torchvision network."""

    def build(self, seed=0):
        return Net(nn.Identity()), torch.zeros(64, 4)


def refuse(network, model, images):
    raise ValueError("no rule for aten.cumprod")


def break_down(network, model, images):
    raise IndexError("out of range")


def never_end(network, model, images):
    for _ in itertools.count():
        pass


def misread(network, model, images):
    return Cut(cut(copy.deepcopy(model), [0, 1], [0, 2]), lambda twin: cut(twin, [0, 1], [0, 2]), None)


def leave(network, model, images):
    return Cut(model, lambda twin: twin, None)


@pytest.mark.parametrize(
    ("side", "engine", "outcome"),
    [
        ("ours", refuse, "refused"),
        ("peer", refuse, "crash"),
        ("ours", break_down, "crash"),
        ("ours", misread, "wrong"),
        ("peer", leave, "untouched"),
        ("ours", never_end, "timeout"),
    ],
)
def test_every_end_has_a_name(monkeypatch, side, engine, outcome):
    monkeypatch.setattr(measure, "_warm", lambda what: None)
    monkeypatch.setattr(measure, "LIMIT_S", 1)
    monkeypatch.setitem(measure.ENGINES, side, engine)
    assert measure.in_process(side, Tiny("tiny", 1))["outcome"] == outcome


def result(outcome, macs=0.5, difference=1e-15):
    found = {"outcome": outcome, "why": "", "seconds": 1.0}
    return (
        found if outcome in ("refused", "timeout") else {**found, "macs": macs, "difference": difference, "effect": 1}
    )


def test_the_summary_counts_networks_and_misses_of_the_budget():
    ours = {f"n{i}": result("correct") for i in range(18)} | {
        "big": result("correct", macs=0.7),
        "no": result("refused"),
    }
    rows = {row.case: row for row in summary(ours, {name: result("wrong") for name in ours})}
    share = rows["pruned to 0.5 of the MACs, masked == cut, of 20"]
    assert share.value == 90 and share.holds is False and share.peer == "torch-pruning: 100 % wrong"
    assert rows["wrong"].value == 0 and rows["wrong"].holds and rows["refused (no)"].value == 1


def test_a_missing_peer_is_said():
    network, found = Network("tiny", 64), result("correct")
    assert network_row(network, found, None).peer == "torch-pruning is not installed"
    assert next(iter(summary({"tiny": found}, None))).peer == "torch-pruning is not installed"


def test_the_list_has_small_networks_first_and_knows_segmenters():
    found = networks(["fcn_resnet50", "vit_b_32", "squeezenet1_1"])
    assert [network.name for network in found] == ["squeezenet1_1", "fcn_resnet50", "vit_b_32"]
    assert [network.classes for network in found] == [1000, 21, 1000]
    assert found[2].options == {"image_size": found[2].side}
    assert len(networks()) >= 80 and len({network.name for network in networks()}) == len(networks())
    with pytest.raises(ValueError, match="no classifiers or segmenters \\['raft_large'\\]"):
        networks(["raft_large"])
