"""Layers whose output channels have circuits of their own: their energy, and that no device takes them yet."""

import math
from statistics import fmean

import pytest
import torch
from torch import nn

import picojoule
from approx import Assignment, ChannelChoice, Choice, quantise
from deploy.build import build
from deploy.energy import account, account_assignment
from deploy.hardware import Hardware
from deploy.workload import LayerWorkload
from multipliers import Library, Multiplier, generate
from picojoule.pipeline.savings import multiplication_saved

HARDWARE = Hardware.load("generic_45nm")
CONV = LayerWorkload("conv", "conv2d", fan_in=9, channels=4, groups=1, positions=5, inputs=25)
FC = LayerWorkload("fc", "linear", fan_in=30, channels=2, groups=1, positions=1, inputs=30)
LIBRARY = Library([generate(name) for name in ("mul8u_drum4", "mul8u_trunc4", "mul8s_exact")])
ROUGH, FINE = LIBRARY["mul8u_trunc4"], LIBRARY["mul8u_drum4"]
MIXED = Assignment({"conv": ChannelChoice((ROUGH.name, FINE.name, ROUGH.name, ROUGH.name))})


def test_a_layer_costs_the_mean_of_its_channels() -> None:
    report = account_assignment([CONV, FC], MIXED, LIBRARY, HARDWARE)
    whole = {c: account([CONV, FC], {"conv": (c, "sign-magnitude")}, HARDWARE) for c in (ROUGH, FINE)}
    for component in ("multiplication", "operand_overhead", "activation_memory"):
        parts = [whole[c].layers[0].after[component].value for c in (ROUGH, ROUGH, ROUGH, FINE)]
        assert report.layers[0].after[component].value == pytest.approx(fmean(parts))
    relative = (3 * ROUGH.energy_relative + FINE.energy_relative) / 4
    assert report.layers[0].relative_power == pytest.approx(relative)
    macs = {work.name: work.macs for work in (CONV, FC)}
    saved = multiplication_saved(MIXED, macs, LIBRARY)
    assert saved == pytest.approx(CONV.macs * (1 - relative) / (CONV.macs + FC.macs))
    assert saved == pytest.approx(report.saved_multiplication)


def test_every_circuit_is_named_with_its_own_uncertainty() -> None:
    report = account_assignment([CONV, FC], MIXED, LIBRARY, HARDWARE)
    assert report.layers[0].circuit == f"{ROUGH.name}+{FINE.name}" and set(report.circuits) == {ROUGH.name, FINE.name}
    found = report.layers[0].after["multiplication"]
    parts = {c: k * CONV.macs / 4 * HARDWARE.multiply_pj(8, 8) * c.energy_relative for c, k in ((ROUGH, 3), (FINE, 1))}
    for circuit, energy in parts.items():
        assert found.sensitivities[f"circuit {circuit.name}"] == pytest.approx(energy)
    own = [energy * circuit.provenance.uncertainty for circuit, energy in parts.items()]
    common = found.value * report.uncertainties["multiply"]
    assert found.sigma(report.uncertainties) == pytest.approx(math.hypot(*own, common))


def test_equal_circuits_are_one() -> None:
    alike = account_assignment([CONV, FC], Assignment({"conv": ChannelChoice((FINE.name,) * 4)}), LIBRARY, HARDWARE)
    one = account_assignment([CONV, FC], Assignment({"conv": Choice(FINE.name)}), LIBRARY, HARDWARE)
    assert alike.total_after_pj == pytest.approx(one.total_after_pj) and alike.layers[0].circuit == FINE.name


@pytest.mark.parametrize(
    ("circuits", "message"),
    [
        ((ROUGH, FINE, ROUGH), "'conv': expected a circuit for each of 4 output channels, got 3"),
        ((ROUGH,), "each of 4 output channels, got 1"),
        ((), "each of 4 output channels, got 0"),
        ((ROUGH, FINE, ROUGH, LIBRARY["mul8s_exact"]), "'mul8s_exact' is a signed one"),
    ],
)
def test_unfit_circuits_name_the_layer(circuits: tuple[Multiplier, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        account([CONV, FC], {"conv": (circuits, "sign-magnitude")}, HARDWARE)


def test_a_network_with_them_has_an_energy_but_no_program() -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 1, 5, 5)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(36, 2)).eval()
    assignment = Assignment({"0": ChannelChoice((ROUGH.name, FINE.name, ROUGH.name, ROUGH.name))})
    network = quantise(model, [images])
    expected = picojoule.energy(network, assignment, library=LIBRARY).total_after_pj
    network.assign(assignment, LIBRARY)
    with pytest.raises(ValueError, match="layer '0' has circuits by output channel; programs hold one circuit a layer"):
        build(network)
    assert picojoule.energy(network, assignment, library=LIBRARY).total_after_pj == expected
