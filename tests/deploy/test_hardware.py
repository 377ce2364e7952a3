"""Hardware descriptions: formulas give the published figures; bad files are refused, every problem named."""

import hashlib
import math
from pathlib import Path

import pytest

from deploy.hardware import FOLDER, Hardware, hardware_names

GENERIC = (FOLDER / "generic_45nm.toml").read_text()


def test_bundled_names() -> None:
    assert {"generic_45nm", "eyeriss_relative"} <= set(hardware_names())


@pytest.mark.parametrize("name", hardware_names())
def test_every_bundled_description_is_valid_and_sourced(name: str) -> None:
    hardware = Hardware.load(name)
    assert hardware.name == name
    assert hardware.content_hash == hashlib.sha256((FOLDER / f"{name}.toml").read_bytes()).hexdigest()
    figures = {"multiply", "add", "sign_logic", *hardware.memory_pj_per_bit}
    assert all(hardware.sources[key].text and hardware.sources[key].uncertainty > 0 for key in figures)
    order = [
        hardware.memory_pj_per_bit[k]
        for k in ("register", "buffer", "global", "dram")
        if k in hardware.memory_pj_per_bit
    ]
    assert order == sorted(order), "a farther level must cost more per bit"


def test_generic_gives_horowitz_figures() -> None:
    hardware = Hardware.load("generic_45nm")
    assert hardware.multiply_pj(8, 8) == pytest.approx(0.2, rel=1e-4)
    assert hardware.multiply_pj(32, 32) == pytest.approx(3.1, rel=1e-4)
    assert hardware.add_pj(32) == pytest.approx(0.1)
    assert hardware.memory_pj_per_bit["buffer"] * 64 == pytest.approx(10)
    assert hardware.memory_pj_per_bit["global"] * 64 == pytest.approx(100)
    assert 1300 < hardware.memory_pj_per_bit["dram"] * 64 < 2600
    assert hardware.memory_pj_per_bit["register"] * 64 == pytest.approx(10 * math.sqrt(8 / 8192))


def test_multiply_is_symmetric_and_grows() -> None:
    hardware = Hardware.load("generic_45nm")
    assert hardware.multiply_pj(8, 9) == hardware.multiply_pj(9, 8)
    assert hardware.multiply_pj(8, 8) < hardware.multiply_pj(8, 9) < hardware.multiply_pj(9, 9)


def test_eyeriss_keeps_its_ratios() -> None:
    hardware = Hardware.load("eyeriss_relative")
    mac = hardware.multiply_pj(16, 16) + hardware.add_pj(32)
    ratios = [hardware.memory_pj_per_bit[k] * 16 / mac for k in ("register", "buffer", "dram")]
    assert ratios == pytest.approx([1, 6, 200], rel=1e-3)
    assert "global" not in hardware.memory_pj_per_bit


def test_a_path_loads_like_a_name(tmp_path: Path) -> None:
    copy = tmp_path / "mine.toml"
    copy.write_text(GENERIC.replace('name = "generic_45nm"', 'name = "mine"'))
    mine, bundled = Hardware.load(copy), Hardware.load("generic_45nm")
    assert mine.name == "mine" and mine.arithmetic == bundled.arithmetic
    assert mine.content_hash != bundled.content_hash


def test_unknown_name_lists_the_bundled_ones() -> None:
    with pytest.raises(FileNotFoundError, match="generic_45nm"):
        Hardware.load("generic_28nm")


def test_wrong_key_names_the_close_one() -> None:
    text = GENERIC.replace("activation_reuse", "activation_reuze")
    with pytest.raises(ValueError, match=r"dataflow\.activation_reuze: unknown key; did you mean 'activation_reuse'"):
        Hardware.parse(text.encode())


def test_every_problem_is_listed_at_once() -> None:
    text = (
        GENERIC.replace("access_pj = 10.0", "access_pj = -10.0")
        .replace("accumulator_bits = 32", 'accumulator_bits = "many"')
        .replace("weight_reuse = 16", "weight_reuse = 0")
        .replace("[memory.dram]", "[memory.drum]")
    )
    with pytest.raises(ValueError) as caught:
        Hardware.parse(text.encode(), "mine.toml")
    message = str(caught.value)
    for part in (
        "mine.toml: 5 problem(s)",
        "memory.buffer.access_pj: expected a finite number >= 0, got -10.0",
        "accumulator_bits: expected a whole number >= 1, got 'many'",
        "dataflow.weight_reuse: expected a whole number >= 1, got 0",
        "memory.dram: missing",
        "memory.drum: unknown key",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("schema = 1", "schema = 2", "schema: this version reads 1, got 2"),
        ("schema = 1", "", "schema: missing"),
        ("uncertainty = 0.25", "uncertainty = -0.25", "multiply.uncertainty"),
        ("uncertainty = 0.25", "uncertainty = nan", "multiply.uncertainty"),
        ("per_bit_product_pj = 0.0029948", "per_bit_product_pj = 0", "expected a finite number > 0"),
        ("access_pj = 1950.0", "access_pj = inf", "memory.dram.access_pj"),
        ("access_pj = 1950.0", "access_pj = true", "memory.dram.access_pj"),
        ('node = "45 nm, 0.9 V"', 'node = ""', "node: expected a non-empty text"),
        ("[on_chip]", "[on_chips]", "on_chip: missing"),
        ("access_pj = 100.0", "", "memory.global.access_pj: missing"),
        (
            "weight_bytes = 524288",
            "weight_bytes = 1.5",
            "on_chip.weight_bytes: expected a whole number >= 0, got 1.5",
        ),
    ],
)
def test_bad_values_are_named(old: str, new: str, problem: str) -> None:
    assert old in GENERIC
    with pytest.raises(ValueError) as caught:
        Hardware.parse(GENERIC.replace(old, new).encode())
    assert problem in str(caught.value)


@pytest.mark.parametrize("data", [b"name = ", b"\xff\xfe", b"= 3"])
def test_not_toml(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"mine\.toml: not TOML"):
        Hardware.parse(data, "mine.toml")


def test_an_empty_file_lists_what_is_missing() -> None:
    with pytest.raises(ValueError) as caught:
        Hardware.parse(b"")
    for key in ("schema", "name", "multiply", "add", "sign_logic", "memory", "dataflow", "on_chip"):
        assert f"{key}: missing" in str(caught.value)
