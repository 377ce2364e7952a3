"""Bits, circuits and shares of channels in one knapsack: against brute force, and carried out on a network."""

import copy
import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from approx import Choice, Operands, quantise
from multipliers import Library, generate
from noise_models import Candidate, ErrorPrediction, Front, Group, joint_front, knapsack, realise, sole_readers

Table = dict[str, list[Candidate]]
NONE = ErrorPrediction.none(1)


def candidate(name: str, energy: float, degradation: float, bits: int = 8) -> Candidate:
    return Candidate(Choice(name), energy, degradation, NONE, bits=bits)


numbers = st.sampled_from([0.0, 1e-3, 0.1, 0.5, 1.0, 2.0, 30.0])
rows = st.lists(st.tuples(numbers, numbers, st.sampled_from([4, 6, 8])), min_size=1, max_size=4)
tables = st.lists(rows, min_size=2, max_size=3).map(
    lambda layers: {f"l{i}": [candidate(f"m{j}", *way) for j, way in enumerate(row)] for i, row in enumerate(layers)}
)
sides = st.fixed_dictionaries({"l0": st.integers(0, 2), "l1": st.integers(0, 2)})
groups = st.builds(Group, sides, st.dictionaries(st.sampled_from([0.25, 0.5, 0.9]), numbers, max_size=2), st.booleans())


def every_choice(table: Table, group: Group) -> list[tuple[float, float]]:
    """Energy and degradation of all choices that the group allows, by definition."""
    found = []
    for kept, pruned in {1.0: 0.0, **group.pruning}.items():
        for chosen in product(*table.values()):
            by_name = dict(zip(table, chosen, strict=True))
            if group.same_bits and by_name["l0"].bits != by_name["l1"].bits:
                continue
            energy = math.fsum(c.energy * kept ** group.sides.get(n, 0) for n, c in by_name.items())
            found.append((energy, math.fsum(c.degradation for c in chosen) + pruned))
    return found


@given(tables, groups)
def test_the_front_is_that_of_every_choice(table: Table, group: Group) -> None:
    """At any price of degradation the best point of the front is the best choice there is."""
    every = every_choice(table, group)
    if not every:
        with pytest.raises(ValueError, match="no width of activations suits all layers"):
            joint_front(table, [group])
        return
    front = joint_front(table, [group])
    for price in np.geomspace(1e-4, 1e4, 17):
        best = min(energy + price * degradation for energy, degradation in every)
        mine = min(p.energy + price * p.degradation for p in front)
        assert mine == pytest.approx(best, rel=1e-9, abs=1e-12)


@given(tables, groups)
def test_points_are_made_of_what_they_say(table: Table, group: Group) -> None:
    group = replace(group, same_bits=False)
    for point in joint_front(table, [group]):
        assert list(point.assignment.layers) == list(table)
        shares = {point.kept.get(n, 1.0) for n, s in group.sides.items() if s} or {1.0}
        assert len(shares) == 1 and set(point.kept) <= {n for n, s in group.sides.items() if s}
        possible = [
            math.fsum(
                c.energy * point.kept.get(n, 1.0) ** group.sides.get(n, 0) for n, c in zip(table, ways, strict=True)
            )
            for ways in product(
                *(
                    [c for c in table[n] if c.choice == choice and c.bits == point.bits.get(n, 8)]
                    for n, choice in point.assignment.layers.items()
                )
            )
        ]
        assert any(point.energy == pytest.approx(energy) for energy in possible)


@given(tables)
def test_without_groups_it_is_the_plain_knapsack_and_options_only_help(table: Table) -> None:
    plain, joint = knapsack(table), joint_front(table)
    assert [(p.energy, p.degradation) for p in joint] == [(p.energy, p.degradation) for p in plain]
    pruned = joint_front(table, [Group({"l0": 1, "l1": 1}, {0.5: 0.1})])
    for price in np.geomspace(1e-3, 1e3, 7):
        least = [min(p.energy + price * p.degradation for p in front) for front in (pruned, plain)]
        assert least[0] <= least[1] * (1 + 1e-9)


def test_a_worked_example(tmp_path: Path) -> None:
    """Half the channels: of l0 half the products (its outputs), of l1 a quarter (both sides), l2 stays."""
    table = {"l0": [candidate("a", 4.0, 0.0), candidate("b", 2.0, 1.0, bits=4)]}
    table |= {name: [candidate("a", 4.0, 0.0)] for name in ("l1", "l2")}
    front = joint_front(table, [Group({"l0": 1, "l1": 2}, {0.5: 0.5})])
    assert [(p.energy, p.degradation) for p in front] == [(6.0, 1.5), (7.0, 0.5), (12.0, 0.0)]
    assert front.points[0].bits == {"l0": 4} and front.points[0].kept == {"l0": 0.5, "l1": 0.5}
    assert front.points[2].bits == front.points[2].kept == {}
    front.save(tmp_path / "front.json")
    again = Front.load(tmp_path / "front.json")
    assert [p.to_json() for p in again] == [p.to_json() for p in front]
    assert "bits" not in front.points[2].to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": {"a": 9}}, "point 0: bits must be"),
        ({"bits": {"a": 4.0}}, "point 0: bits must be"),
        ({"kept": {"a": 0}}, "point 0: kept must be"),
        ({"kept": [0.5]}, "point 0: kept must be"),
        ({"colour": 1}, "point 0: expected the keys"),
    ],
)
def test_mistakes_in_the_file(change: dict[str, object], message: str) -> None:
    point = {"energy": 1.0, "degradation": 0.0, "assignment": {"version": 1, "layers": {"a": "m"}}, **change}
    with pytest.raises(ValueError, match=message):
        Front.from_json({"version": 1, "method": "m", "points": [point]})


def test_bad_groups() -> None:
    table = {name: [candidate("a", 1.0, 0.0)] for name in ("l0", "l1")}
    with pytest.raises(ValueError, match=r"layers \['l2'\] of the groups have no candidates"):
        joint_front(table, [Group({"l0": 1, "l2": 1})])
    with pytest.raises(ValueError, match=r"\['l0'\].* in several groups"):
        joint_front(table, [Group({"l0": 1}), Group({"l0": 1, "l1": 1})])
    for wrong in ({0.0: 1.0}, {1.5: 1.0}, {0.5: -1.0}, {0.5: math.nan}, {0.5: math.inf}):
        with pytest.raises(ValueError, match="expected shares above 0 and at most 1 with finite degradations"):
            Group({"l0": 1}, wrong)
    for layers in ({}, {"l0": 3}):
        with pytest.raises(ValueError, match="0, 1 or 2 pruned sides"):
            Group(layers)
    with pytest.raises(ValueError, match="no layers"):
        joint_front({})
    with pytest.raises(ValueError, match="finite degradation"):
        joint_front({"l0": [candidate("a", 1.0, math.inf)]})


class Residual(nn.Module):
    """`inner` alone reads what `first` writes; `last` and the sum read what `stem` writes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.inner = (nn.Conv2d(i, 4, 3, padding=1) for i in (2, 4, 4))
        self.side, self.last = nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        y = self.inner(self.first(x).relu()) + self.side(x)
        result: torch.Tensor = self.last(y.relu().mean((2, 3)))
        return result


LIBRARY = Library([generate(n) for n in ("mul8u_exact", "mul4u_exact", "mul6x4u_exact")])


def residual() -> tuple[nn.Module, list[torch.Tensor]]:
    torch.manual_seed(0)
    return Residual().eval(), [torch.rand(16, 2, 6, 6)]


def test_points_are_carried_out() -> None:
    model, images = residual()
    network = quantise(model, images)
    assert sole_readers(network) == ["stem", "inner", "last"]
    table = {name: [candidate("mul8u_exact", 1.0, 0.0)] for name in network.layers()}
    table["inner"].append(candidate("mul4u_exact", 0.1, 0.1, bits=4))
    table["last"].append(candidate("mul6x4u_exact", 0.1, 0.1, bits=6))
    point = joint_front(table).points[0]
    assert point.bits == {"inner": 4, "last": 6}
    before = copy.deepcopy(model.state_dict())
    narrow = realise(model, images, point, LIBRARY)
    assert {n: layer.sources[0].bits for n, layer in narrow.layers().items()} == {
        "stem": 8, "first": 8, "inner": 4, "side": 8, "last": 6
    }  # fmt: skip
    assert narrow.layers()["inner"].circuit == "mul4u_exact"
    with torch.no_grad():
        difference = (narrow(images[0]) - network(images[0])).abs().max()
    assert 0 < difference < 0.2
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_layers_that_read_the_same_activation_must_agree() -> None:
    model, images = residual()
    table = {n: [candidate("mul8u_exact", 1.0, 0.0)] for n in ("stem", "first", "inner", "side", "last")}
    table["side"] = [candidate("mul6x4u_exact", 0.1, 0.1, bits=6)]
    with pytest.raises(ValueError, match=r"'(side|first)' is to read . bits of activation .*same_bits"):
        realise(model, images, joint_front(table).points[0], LIBRARY)
    with pytest.raises(ValueError, match="no width of activations suits"):
        joint_front(table, [Group({"first": 0, "side": 0}, same_bits=True)])
    table["first"].append(candidate("mul6x4u_exact", 0.1, 0.1, bits=6))
    point = joint_front(table, [Group({"first": 0, "side": 0}, same_bits=True)]).points[0]
    layers = realise(model, images, point, LIBRARY).layers()
    sources = [layers[name].sources[0] for name in ("first", "side")]
    assert sources[0] is sources[1] and sources[0].bits == 6


def test_operands_survive() -> None:
    choice = Candidate(Choice("mul8u_exact", Operands.AFFINE), 1.0, 0.0, NONE)
    assert joint_front({"a": [choice]}).points[0].assignment.layers["a"] == choice.choice
