"""A circuit for each output channel: the file, what it refuses, and that a network does what it says."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from approx import Assignment, ChannelChoice, Choice, Operands, QuantisedNetwork, quantise
from approx.channel_ranges import from_ranges, to_ranges
from multipliers import Library, generate

LIBRARY = Library([generate(name) for name in ("mul8u_trunc4", "mul8u_drum4", "mul8u_array", "mul4u_array")])
CHANNELS = ("mul8u_trunc4", "mul8u_drum4", "mul8u_trunc4", "mul8u_array")


def network() -> tuple[QuantisedNetwork, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    images = torch.rand(6, 2, 6, 6)
    return quantise(model.eval(), [images]), images


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=40), st.sampled_from(Operands), st.booleans())
def test_any_pattern_of_channels_survives_the_file(names: list[str], operands: Operands, swap: bool) -> None:
    assignment = Assignment({"conv": ChannelChoice(tuple(names), operands, swap), "*": Choice("a")})
    assert Assignment.from_json(json.loads(json.dumps(assignment.to_json()))) == assignment


def test_the_file_in_full(tmp_path: Path) -> None:
    choice = ChannelChoice(CHANNELS, "affine")  # type: ignore[arg-type]
    Assignment({"0": choice}).save(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["layers"]["0"] == {
        "multipliers": {"mul8u_trunc4": "0,2", "mul8u_drum4": "1", "mul8u_array": "3"},
        "operands": "affine",
        "swap": False,
    }
    assert Assignment.load(tmp_path / "a.json").layers["0"] == choice
    by_hand = {"version": 1, "layers": {"0": {"multipliers": {"m": " 3 - 4, 0-1", "n": "2"}}}}
    assert Assignment.from_json(by_hand).layers["0"] == ChannelChoice(("m", "m", "n", "m", "m"))


def test_names_of_a_choice() -> None:
    choice = ChannelChoice(CHANNELS)
    assert choice.circuits == ("mul8u_trunc4", "mul8u_drum4", "mul8u_array")
    assert choice.multiplier == "mul8u_trunc4+mul8u_drum4+mul8u_array"
    assert Choice("m").multipliers == Choice("m").circuits == ("m",)
    with pytest.raises(ValueError, match="each output channel, got none"):
        ChannelChoice(())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"multipliers": {"m": "0-1", "n": "3"}}, "channel 2 has none"),
        ({"multipliers": {"m": "0-2", "n": "1"}}, "channel 1 has a second one, 'n'"),
        ({"multipliers": {"m": "1-2"}}, "channel 0 has none"),
        ({"multipliers": {"m": "0,0"}}, "channel 0 has a second one"),
        ({"multipliers": {"m": "2-0"}}, "channel numbers such as"),
        ({"multipliers": {"m": "0-99999999999"}}, "channel numbers such as"),
        ({"multipliers": {"m": "-1"}}, "channel numbers such as"),
        ({"multipliers": {"m": ""}}, "channel numbers such as"),
        ({"multipliers": {"m": 0}}, "must be an object such as"),
        ({"multipliers": ["m", "m"]}, "must be an object such as"),
        ({"multipliers": {}}, "must be an object such as"),
        ({"multiplier": "m", "multipliers": {"m": "0"}}, "expected a multiplier name"),
        ({"multipliers": {"m": "0"}, "colour": 1}, "unknown keys"),
    ],
)
def test_mistakes_name_the_layer(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"assignment, layer 'a': .*{message}"):
        Assignment.from_json({"version": 1, "layers": {"a": value}})


@given(st.sets(st.integers(0, 30)))
def test_ranges_are_the_numbers_they_stand_for(channels: set[int]) -> None:
    if channels:
        assert from_ranges(to_ranges(sorted(channels))) == sorted(channels)


def test_every_channel_is_its_own_circuit_s() -> None:
    approximate, images = network()
    outputs = {}
    layer = approximate.layers()["0"]
    for name in set(CHANNELS):
        approximate.assign(Assignment({"0": Choice(name, Operands.AFFINE)}), LIBRARY)
        outputs[name] = layer.response(images)
    approximate.assign(Assignment({"0": ChannelChoice(CHANNELS, Operands.AFFINE)}), LIBRARY)
    assert layer.mixed and layer.circuit == "mul8u_trunc4+mul8u_drum4+mul8u_array"
    for channel, name in enumerate(CHANNELS):
        assert torch.equal(layer.response(images)[:, channel], outputs[name][:, channel])
    alike = ChannelChoice(("mul8u_drum4",) * 4, Operands.AFFINE)
    assert torch.equal(approximate.assign(Assignment({"0": alike}), LIBRARY)(images), _with_drum4(approximate, images))


def _with_drum4(approximate: QuantisedNetwork, images: torch.Tensor) -> torch.Tensor:
    return approximate.assign(Assignment({"0": Choice("mul8u_drum4", Operands.AFFINE)}), LIBRARY)(images)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            {"0": Choice("mul8u_drum4"), "2": ChannelChoice(CHANNELS[:3])},
            r"layer '2': .* 4 output channels, got 3 names",
        ),
        ({"*": ChannelChoice(CHANNELS)}, r"layer '4': .* 3 output channels, got 4 names"),
        ({"2": ChannelChoice(("mul8u_array", "mul8u_arary") * 2)}, r"layer '2'.*'mul8u_arary'.*\['mul8u_array'"),
        ({"0": ChannelChoice((*CHANNELS[:3], "mul4u_array"))}, "layer '0': .*differ in width"),
        ({"0": ChannelChoice(("mul4u_array",) * 4)}, "layer '0' reads 8-bit activations"),
    ],
)
def test_refused_before_anything_changes(layers: dict[str, Choice | ChannelChoice], message: str) -> None:
    approximate, images = network()
    approximate.assign(Assignment({"0": Choice("mul8u_trunc4"), "2": ChannelChoice(CHANNELS)}), LIBRARY)
    before = approximate(images)
    circuits = {name: layer.layer_circuit for name, layer in approximate.layers().items()}
    with pytest.raises(ValueError, match=message):
        approximate.assign(Assignment(layers), LIBRARY)
    assert all(layer.layer_circuit is circuits[name] for name, layer in approximate.layers().items())
    assert torch.equal(approximate(images), before)


def test_training_by_table_differences_refuses_it_before_anything_changes() -> None:
    approximate, _ = network()
    approximate.assign(Assignment({"0": Choice("mul8u_drum4")}), LIBRARY).use_gradient(4)
    with pytest.raises(ValueError, match="layer '2': table differences need one circuit a layer"):
        approximate.assign(Assignment({"2": ChannelChoice(CHANNELS)}), LIBRARY)
    assert approximate.layers()["0"].circuit == "mul8u_drum4"


def test_a_matrix_product_takes_one_circuit() -> None:
    class Squares(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.linear(x)
            return (y @ y.transpose(-1, -2)).flatten(1)

    products = quantise(Squares().eval(), [torch.rand(4, 3, 5)])
    name = next(name for name in products.multiplying() if name not in products.layers())
    with pytest.raises(ValueError, match=f"{name!r} is a matrix product"):
        products.assign(Assignment({name: ChannelChoice(("mul8u_drum4",) * 3)}), LIBRARY)
