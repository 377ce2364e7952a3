"""The energy account: golden values worked out by hand, exactness, uncertainty against sampling, refusals."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.operands import Operands
from deploy.energy import COMPONENTS, EnergyReport, account, circuits_of_program
from deploy.hardware import Hardware, Source, hardware_names
from deploy.testing import every_operation_program
from deploy.workload import LayerWorkload, workloads_of_program
from multipliers import Multiplier, Provenance

ROUND = """
schema = 1
name = "round"
node = "none"
description = "round numbers for sums by hand"
accumulator_bits = 20
[multiply] # 8 x 8: 0.2; 8 x 9: 0.225; 8 x 12: 0.3; 32 x 32: 3.2
per_bit_product_pj = 0.003125
per_bit_pj = 0.0
source = "test"
uncertainty = 0.1
[add] # 20 bits: 0.2; 64 bits: 0.64
per_bit_pj = 0.01
source = "test"
uncertainty = 0.2
[sign_logic] # 0.05
relative_to_multiply = 0.25
source = "test"
uncertainty = 0.4
[memory]
register = {access_pj = 1.0, access_bits = 10, source = "test", uncertainty = 0.5}
buffer = {access_pj = 8.0, access_bits = 8, source = "test", uncertainty = 0.3}
global = {access_pj = 128.0, access_bits = 64, source = "test", uncertainty = 0.3}
dram = {access_pj = 6400.0, access_bits = 64, source = "test", uncertainty = 0.3}
[dataflow]
activation_reuse = 4
weight_reuse = 2
weight_registers = 1
activation_registers = 1
accumulator_registers = 2
source = "test"
[on_chip]
weight_bytes = 114
activation_bytes = 55
source = "test"
"""
HARDWARE = Hardware.parse(ROUND.encode())
CONV = LayerWorkload("conv", "conv2d", fan_in=9, channels=6, groups=1, positions=5, inputs=25)
FC = LayerWorkload("fc", "linear", fan_in=30, channels=2, groups=1, positions=1, inputs=30)
NET = (CONV, FC)


def circuit(
    relative: float, name: str = "half", *, signed: bool = False, bits: int = 8, uncertainty: float = 0.2
) -> Multiplier:
    """A circuit of a given cost; what it computes does not matter here."""
    provenance = Provenance("a test", "45 nm", "invented", uncertainty)
    table = np.zeros((1 << bits, 1 << bits), dtype=np.int32)
    return Multiplier(name, table, signed, bits, bits, 0.2 * relative, relative, None, None, provenance)


def values(report: EnergyReport, layer: int, *, after: bool = False) -> dict[str, float]:
    """Component -> pJ of one layer."""
    energies = report.layers[layer].after if after else report.layers[layer].before
    return {name: energies[name].value for name in COMPONENTS}


def test_golden_baseline() -> None:
    report = account(NET, {}, HARDWARE)
    assert values(report, 0) == pytest.approx(
        {
            "multiplication": 270 * 0.2,
            "accumulation": 270 * 0.2 + 270 * 2 * 20 * 0.1,
            "operand_overhead": 0,
            "requantisation": 30 * (3.2 + 0.64),
            "weight_memory": 216 + 54 * 3 * 8 + 54 * 8 * 2,
            "activation_memory": 216 + 5 * 9 * 2 * 8 + 55 * 8 * 2,
        }
    )
    assert values(report, 1) == pytest.approx(
        {
            "multiplication": 12,
            "accumulation": 252,
            "operand_overhead": 0,
            "requantisation": 7.68,
            "weight_memory": 48 + 480 + 960,
            "activation_memory": 48 + 240 + 512,
        }
    )
    assert report.total_before_pj == pytest.approx(54 + 1134 + 115.2 + 2376 + 1816 + 12 + 252 + 7.68 + 1488 + 800)


def test_golden_sign_magnitude() -> None:
    report = account(NET, {"conv": (circuit(0.5), "sign-magnitude")}, HARDWARE)
    before, after = values(report, 0), values(report, 0, after=True)
    assert after == pytest.approx({**before, "multiplication": 27, "operand_overhead": 270 * 0.05})
    assert values(report, 1) == values(report, 1, after=True)
    assert report.saved_multiplication == pytest.approx(27 / 66)
    assert report.saved_total == pytest.approx((27 - 13.5) / report.total_before_pj)
    assert report.published_relative_power == pytest.approx((270 * 0.5 + 60) / 330)


def test_nine_bit_weights_cost_memory_and_may_leave_the_chip() -> None:
    """54 * 8 + 60 * 9 = 972 bits exceed 912, so all weights come from DRAM, charged as overhead."""
    choice = {"fc": (circuit(0.5), "sign-magnitude-9")}
    report = account(NET, choice, HARDWARE)
    ninth_bit = 60 * 0.1 + 60 + 60 * 2
    assert values(report, 0, after=True)["operand_overhead"] == pytest.approx(54 * 8 * 100)
    assert values(report, 1, after=True)["operand_overhead"] == pytest.approx(60 * 9 * 100 + ninth_bit + 60 * 0.05)
    roomy = replace(HARDWARE, dataflow=replace(HARDWARE.dataflow, weight_bytes=200))
    report = account(NET, choice, roomy)
    assert values(report, 0, after=True)["operand_overhead"] == 0
    assert values(report, 1, after=True)["operand_overhead"] == pytest.approx(ninth_bit + 3)


def test_affine_adds_each_receptive_field_once_per_group() -> None:
    report = account(NET, {"conv": (circuit(0.5), "affine")}, HARDWARE)
    assert values(report, 0, after=True)["operand_overhead"] == pytest.approx((5 * 9 + 30) * 0.2 + 30 * 0.3)
    depthwise = replace(CONV, groups=6, inputs=150)
    roomy = replace(HARDWARE, dataflow=replace(HARDWARE.dataflow, activation_bytes=10_000))
    report = account([depthwise], {"conv": (circuit(0.5), "affine")}, roomy)
    assert values(report, 0, after=True)["operand_overhead"] == pytest.approx((270 + 30) * 0.2 + 30 * 0.3)


def test_depthwise_reuses_no_activation() -> None:
    """One output channel a group: every multiplication reads its activation from the buffer."""
    depthwise = replace(CONV, groups=6, inputs=30)
    roomy = replace(HARDWARE, dataflow=replace(HARDWARE.dataflow, activation_bytes=10_000))
    memory = values(account([depthwise], {}, roomy), 0)["activation_memory"]
    assert memory == pytest.approx(216 + 270 * 8 + 60 * 8 * 2)


def test_activations_that_do_not_fit_go_to_dram() -> None:
    small = replace(HARDWARE, dataflow=replace(HARDWARE.dataflow, activation_bytes=54))
    fits = values(account(NET, {}, HARDWARE), 0)["activation_memory"]
    assert values(account(NET, {}, small), 0)["activation_memory"] == pytest.approx(fits + 55 * 8 * 100)


def test_a_second_activation_is_stored_as_an_input_and_read_as_a_weight() -> None:
    """Two products [5, 9] x [9, 3]: as the convolution's, but nothing in the weights' place lies further out."""
    product = LayerWorkload("qk", "matmul", fan_in=9, channels=6, groups=2, positions=5, inputs=2 * (45 + 27))
    roomy = replace(HARDWARE, dataflow=replace(HARDWARE.dataflow, activation_bytes=10_000, weight_bytes=0))
    before = values(account([product], {}, roomy), 0)
    assert before["weight_memory"] == pytest.approx(216 + 54 * 3 * 8)
    assert before["activation_memory"] == pytest.approx(216 + 5 * 9 * 2 * 8 + (144 + 30) * 8 * 2)
    assert before["multiplication"] == pytest.approx(54)


@pytest.mark.parametrize(
    ("operands", "overhead"),
    [
        ("sign-magnitude", 54 * (3.2 + 0.64) + 270 * 0.05),
        ("signed", 54 * (3.2 + 0.64)),
        ("sign-magnitude-9", 270 * 0.05 + 270 * 0.1 + 54 * 3),
        ("affine", (5 * 2 * 9 + 30) * 0.2 + 30 * 0.3),
    ],
)
def test_coding_a_second_activation_costs_what_weights_are_spared(operands: str, overhead: float) -> None:
    product = LayerWorkload("qk", "matmul", fan_in=9, channels=6, groups=2, positions=5, inputs=2 * (45 + 27))
    choice = {"qk": (circuit(0.5, signed=operands == "signed"), operands)}
    report = account([product], choice, HARDWARE)
    assert values(report, 0, after=True)["operand_overhead"] == pytest.approx(overhead)


def test_signed_circuits_need_no_overhead() -> None:
    report = account(NET, {"conv": (circuit(0.5, signed=True), "signed")}, HARDWARE)
    assert values(report, 0, after=True)["operand_overhead"] == 0


@pytest.mark.parametrize("name", hardware_names())
@pytest.mark.parametrize("operands", ["sign-magnitude", "signed"])
def test_an_exact_assignment_saves_exactly_nothing(name: str, operands: str) -> None:
    report = account(NET, {"conv": (None, operands), "fc": (None, operands)}, Hardware.load(name))
    assert report.saved_multiplication == 0.0 and report.saved_total == 0.0
    assert report.saved_total_sigma == 0.0 and report.published_relative_power == 1.0


def test_exact_nine_bit_and_affine_layers_cost_more_than_eight_bit() -> None:
    roomy = replace(HARDWARE, dataflow=replace(HARDWARE.dataflow, weight_bytes=200))
    nine = account(NET, {"fc": (None, "sign-magnitude-9")}, roomy)
    assert values(nine, 1, after=True)["multiplication"] == pytest.approx(60 * 0.225)
    assert values(nine, 1, after=True)["operand_overhead"] == pytest.approx(186)
    affine = account(NET, {"fc": (None, "affine")}, roomy)
    assert nine.saved_total < 0 and affine.saved_total < 0


def test_an_unnamed_layer_keeps_the_bits_of_its_workload() -> None:
    roomy = replace(HARDWARE, dataflow=replace(HARDWARE.dataflow, weight_bytes=200))
    implicit = account([CONV, replace(FC, weight_bits=9)], {}, roomy)
    explicit = account(NET, {"fc": (None, "sign-magnitude-9")}, roomy)
    assert implicit.total_after_pj == explicit.total_after_pj
    assert implicit.total_before_pj == explicit.total_before_pj


@settings(max_examples=60)
@given(st.floats(0, 2), st.floats(0, 2), st.sampled_from(["sign-magnitude", "sign-magnitude-9", "affine"]))
def test_monotone_in_energy_relative(first: float, second: float, operands: str) -> None:
    low, high = sorted((first, second))
    cheap, dear = (account(NET, {"conv": (circuit(r), operands)}, HARDWARE) for r in (low, high))
    assert cheap.total_after_pj <= dear.total_after_pj
    assert cheap.saved_total >= dear.saved_total
    assert cheap.saved_multiplication >= dear.saved_multiplication
    assert cheap.total_before_pj == dear.total_before_pj
    if high - low > 1e-6:
        assert cheap.total_after_pj < dear.total_after_pj


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1.5), min_size=2, max_size=2))
def test_saved_multiplication_is_the_published_convention(relative: list[float]) -> None:
    """Every exact multiplication is 8x8, so the MAC-weighted power ratio and our energy ratio coincide."""
    choices = {w.name: (circuit(r, f"c{i}"), "affine") for i, (w, r) in enumerate(zip(NET, relative, strict=True))}
    report = account(NET, choices, HARDWARE)
    assert report.saved_multiplication == pytest.approx(1 - report.published_relative_power, abs=1e-12)


def test_uncertainty_of_the_multiplication_saving_by_hand() -> None:
    """Multiplier energy cancels in the ratio; each circuit's own, independent error remains."""
    one = circuit(0.5, "one")
    report = account(NET, {"conv": (one, "affine"), "fc": (one, "affine")}, HARDWARE)
    assert report.saved_multiplication_sigma == pytest.approx(0.5 * 0.2)
    choices = {"conv": (one, "affine"), "fc": (circuit(0.25, "two", uncertainty=0.4), "affine")}
    report = account(NET, choices, HARDWARE)
    assert report.saved_multiplication_sigma == pytest.approx(math.hypot(54 * 0.5 * 0.2, 12 * 0.25 * 0.4) / 66)


def _perturbed(factors: dict[str, float]) -> Hardware:
    """The test hardware with every source's figures off by a factor."""
    figures = HARDWARE.arithmetic
    arithmetic = replace(
        figures,
        multiply_per_bit_product_pj=figures.multiply_per_bit_product_pj * factors["multiply"],
        add_per_bit_pj=figures.add_per_bit_pj * factors["add"],
        sign_logic_relative=figures.sign_logic_relative * factors["sign_logic"],
    )
    memory = {level: pj * factors[level] for level, pj in HARDWARE.memory_pj_per_bit.items()}
    return replace(HARDWARE, arithmetic=arithmetic, memory_pj_per_bit=memory)


def test_uncertainty_agrees_with_sampling() -> None:
    """First-order propagation against 3,000 accounts with randomly wrong figures (2 % each)."""
    rng = np.random.default_rng(1)
    sources = {key: Source("test", 0.02) for key in ("multiply", "add", "sign_logic", *HARDWARE.memory_pj_per_bit)}
    hardware = replace(HARDWARE, sources=sources)

    def choices(factor: float) -> dict[str, tuple[Multiplier | None, str]]:
        half = circuit(0.5 * factor, uncertainty=0.02)
        return {"conv": (half, "sign-magnitude"), "fc": (half, "sign-magnitude-9")}

    report = account(NET, choices(1.0), hardware)
    after, saved = [], []
    for _ in range(3000):
        factors = {key: 1 + 0.02 * rng.standard_normal() for key in (*sources, "circuit")}
        sample = account(NET, choices(factors["circuit"]), _perturbed(factors))
        after.append(sample.total_after_pj)
        saved.append(sample.saved_total)
    assert np.std(after) == pytest.approx(report.after().sigma(report.uncertainties), rel=0.05)
    assert np.std(saved) == pytest.approx(report.saved_total_sigma, rel=0.05)


def test_report_is_json_and_names_every_source() -> None:
    half = circuit(0.5)
    report = account(NET, {"conv": (half, "sign-magnitude")}, Hardware.load("generic_45nm"))
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    provenance = document["provenance"]
    assert provenance["hardware"]["content_hash"] == report.hardware.content_hash
    assert {"multiply", "add", "sign_logic", "register", "buffer", "global", "dram", "dataflow"} <= set(
        provenance["hardware"]["sources"]
    )
    assert provenance["circuits"]["half"] == {
        "content_hash": half.content_hash,
        "energy_relative": 0.5,
        "source": "a test",
        "node": "45 nm",
        "method": "invented",
        "uncertainty": 0.2,
    }
    assert "independent" in provenance["combination"] and provenance["not_counted"]
    assert set(document["components"]) == set(COMPONENTS)
    assert sum(part["share_before"] for part in document["components"].values()) == pytest.approx(1)
    assert document["totals"]["macs"] == 330
    assert document["published_convention"]["saved"] == pytest.approx(1 - report.published_relative_power)


def test_rows_add_up() -> None:
    report = account(NET, {"conv": (circuit(0.5), "sign-magnitude-9")}, HARDWARE)
    rows = report.rows()
    assert [(row["layer"], row["circuit"], row["operands"]) for row in rows] == [
        ("conv", "half", "sign-magnitude-9"),
        ("fc", "exact", "exact"),
    ]
    assert sum(row["after_pj"] for row in rows) == pytest.approx(report.total_after_pj)
    assert sum(row["macs_share"] for row in rows) == pytest.approx(1)
    for row in rows:
        assert sum(row[f"{name}_after_pj"] for name in COMPONENTS) == pytest.approx(row["after_pj"])
    assert sum(report.shares().values()) == pytest.approx(1) == sum(report.shares(after=True).values())


def test_a_program_is_accounted_with_its_own_circuits() -> None:
    program = every_operation_program(np.random.default_rng(3))
    workloads = workloads_of_program(program)
    names = {op.weights.circuit for op in program.operations if hasattr(op, "weights")} - {"exact"}
    modes = {op.weights.circuit: op.weights.operands for op in program.operations if hasattr(op, "weights")}
    library = {name: circuit(0.5, name, signed=modes[name] == "signed") for name in names}
    circuits = circuits_of_program(program, library)
    assert set(circuits) == {work.name for work in workloads} and names
    report = account(workloads, circuits, Hardware.load("generic_45nm"))
    assert 0 < report.saved_multiplication <= 0.5
    with pytest.raises(ValueError, match="which the library lacks"):
        circuits_of_program(program, {})


def test_a_missing_layer_lists_close_names() -> None:
    with pytest.raises(ValueError, match=r"layer 'convv', which does not exist; did you mean \['conv'\]"):
        account(NET, {"convv": (circuit(0.5), "affine")}, HARDWARE)


def test_every_coding_is_accounted() -> None:
    for operands in Operands:
        part = circuit(0.5, signed=operands.signed_circuit)
        report = account(NET, {"conv": (part, operands)}, HARDWARE)
        assert report.layers[0].operands == operands.value
        assert report.saved_multiplication == pytest.approx(27 / 66)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ((None, "sign_magnitude"), "layer 'conv': operands 'sign_magnitude' is none of"),
        (
            (circuit(0.5, signed=True), "affine"),
            "operands 'affine' need an unsigned circuit, 'half' is a signed one",
        ),
        ((circuit(0.5), "signed"), "operands 'signed' need a signed circuit, 'half' is an unsigned one"),
        ((circuit(0.5, bits=4), "affine"), "expected an 8x8 circuit, 'half' is 4x4"),
    ],
)
def test_unfit_choices_name_the_layer(choice: tuple[Multiplier | None, str], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        account(NET, {"conv": choice}, HARDWARE)
    assert message in str(caught.value) and "'conv'" in str(caught.value)


def test_negative_energy_is_refused() -> None:
    with pytest.raises(ValueError, match="energy_pj must be finite and >= 0"):
        circuit(-0.5)
    with pytest.raises(ValueError, match=r"add\.per_bit_pj: expected a finite number >= 0, got -0\.01"):
        Hardware.parse(ROUND.replace("per_bit_pj = 0.01", "per_bit_pj = -0.01").encode())


def test_two_circuits_of_one_name_are_refused() -> None:
    choices = {"conv": (circuit(0.5), "affine"), "fc": (circuit(0.25), "affine")}
    with pytest.raises(ValueError, match="two different circuits are named 'half'"):
        account(NET, choices, HARDWARE)


def test_repeated_and_absent_layers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be unique, these are not: \['conv'\]"):
        account((CONV, CONV), {}, HARDWARE)
    with pytest.raises(ValueError, match="no layers"):
        account((), {}, HARDWARE)


def test_unknown_component_is_refused() -> None:
    with pytest.raises(ValueError, match="component 'memory' is not known"):
        account(NET, {}, HARDWARE).before("memory")
