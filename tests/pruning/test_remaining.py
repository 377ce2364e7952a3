"""Groups renumbered after a cut are those that would be found anew, where these are the same."""

import copy

import pytest
import torch

from pruning import Plan, find_groups, trace
from pruning.remaining import remaining


def described(grouping):
    return {
        group.name: (group.size, {(m.tensor, m.axis, m.indices) for m in group.members}) for group in grouping.groups
    }


def by_node(sites):
    return {node: [(axis, units.tolist()) for axis, units in site] for node, site in sites.items()}


@pytest.mark.parametrize("name", ["conv", "resnet", "concat", "grouped", "nhwc", "gates", "self-residual", "tied"])
def test_renumbered_groups_are_those_found_on_the_cut_network(traced, name):
    before = find_groups(traced(name))
    kept = {group.name: tuple(i for i in range(group.size) if i != group.size // 3) for group in before.groups}
    model = Plan.from_kept(before, kept).apply(copy.deepcopy(before.trace.model))
    cut = trace(model, before.trace.inputs)
    renumbered, found = remaining(before, kept, cut), find_groups(cut)
    assert renumbered.trace is cut and described(renumbered) == described(found)
    assert by_node(renumbered.sites) == by_node(found.sites)
    assert by_node(renumbered.weights) == by_node(found.weights)
    assert dict(renumbered.whole_groups) == dict(found.whole_groups)
    for one, two in zip(renumbered.terms, found.terms, strict=True):
        assert (one.node, one.factor) == (two.node, two.factor)
        assert all(torch.equal(a, b) for a, b in zip(one.axes, two.axes, strict=True))


def test_one_channel_in_each_group_of_a_convolution_is_still_one_unit(traced):
    """Found anew it would look like a depthwise convolution, and its units would be others."""
    before = find_groups(traced("grouped"))
    kept = {group.name: tuple(range(group.size)) for group in before.groups} | {"mix": (2,)}
    cut = trace(Plan.from_kept(before, kept).apply(copy.deepcopy(before.trace.model)), before.trace.inputs)
    renumbered = remaining(before, kept, cut)
    assert {group.name: group.size for group in renumbered.groups} == {name: len(units) for name, units in kept.items()}
    assert described(find_groups(cut)) != described(renumbered)
