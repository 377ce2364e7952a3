"""pruning.tied_atoms against a table built position by position."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from pruning.groups import Member
from pruning.tied_atoms import TiedAtoms


def reference(axes, roots):
    """Root -> slot -> its positions, in the order in which the axes show them."""
    table = {}
    for tensor, labelled in axes.items():
        for number, axis in enumerate(labelled):
            for position, atom in enumerate(axis.tolist()):
                if atom >= 0:
                    table.setdefault(roots[atom], {}).setdefault((tensor, number), []).append(position)
    return table


@st.composite
def labelled(draw):
    count = draw(st.integers(1, 12))
    roots = [draw(st.integers(0, atom)) for atom in range(count)]
    roots = [roots[root] if roots[root] == root else root for root in roots]
    axis = st.lists(st.integers(-2, count - 1), max_size=8).map(lambda found: torch.tensor(found, dtype=torch.int64))
    return {f"t{i}": draw(st.lists(axis, max_size=3)) for i in range(draw(st.integers(0, 4)))}, roots


@given(labelled())
def test_every_class_has_the_positions_of_its_atoms_in_order(drawn):
    axes, roots = drawn
    table, expected = TiedAtoms.of(axes, torch.tensor(roots)), reference(axes, roots)
    assert table.roots == list(expected)
    for number, slots in enumerate(expected.values()):
        signature = table.signature(number)
        assert signature == tuple((slot, len(found)) for slot, found in slots.items())
        members = table.members(signature, [number])
        assert members == tuple(Member(*slot, (tuple(found),)) for slot, found in slots.items())


def test_units_of_one_group_are_listed_in_the_order_asked_for():
    axes = {"a": [torch.tensor([0, 1, 0, 1])], "b": [torch.tensor([-1, 1, 0])]}
    table = TiedAtoms.of(axes, torch.tensor([0, 1]))
    assert table.signature(0) == table.signature(1) == ((("a", 0), 2), (("b", 0), 1))
    assert table.members(table.signature(0), [1, 0]) == (
        Member("a", 0, ((1, 3), (0, 2))),
        Member("b", 0, ((1,), (2,))),
    )
