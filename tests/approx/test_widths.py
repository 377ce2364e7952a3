"""Operands of 2..8 bits on either side, and circuits of their own for output channels."""

import numpy as np
import pytest
import torch
from torch import nn

from approx import Assignment, Choice, LayerTable, Operands, layer_table, quantise
from approx.difference_gradient import derivative_planes, smoothed_difference
from approx.operands import exact_table
from multipliers import Library, Multiplier, Provenance, generate

WIDTHS = [(2, 2), (8, 2), (3, 7), (5, 8), (8, 8)]


def random_circuit(width_a: int, width_b: int, signed: bool) -> Multiplier:
    """A circuit without any structure, table[0][0] != 0."""
    bits = width_a + width_b
    low, high = (-(1 << bits - 2), 1 << bits - 2) if signed else (1, 1 << bits)
    table = np.random.default_rng(bits).integers(low, high, (1 << width_a, 1 << width_b))
    provenance = Provenance("test", "none", "made up", 0.0)
    return Multiplier("test", table.astype(np.int32), signed, width_a, width_b, 1.0, 1.0, None, None, provenance)


def product(circuit: Multiplier, operands: Operands, code: int, weight: int, swap: bool) -> int:
    """The product of one pair, by the definition of the coding."""
    code_bits = circuit.width_b if swap else circuit.width_a
    x, w = code, abs(weight)
    if operands is Operands.SIGNED:
        x, w = code - (1 << (code_bits - 1)), weight
    a, b = (w, x) if swap else (x, w)
    value = int(circuit.table[a % (1 << circuit.width_a), b % (1 << circuit.width_b)])
    if operands is Operands.SIGNED:
        return value + (1 << (code_bits - 1)) * weight
    return -value if weight < 0 else value


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("operands", list(Operands))
@pytest.mark.parametrize("swap", [False, True])
def test_layer_tables_of_every_width(widths: tuple[int, int], operands: Operands, swap: bool) -> None:
    circuit = random_circuit(*widths, operands.signed_circuit)
    table = layer_table(circuit, operands, swap)
    assert (table.code_bits, table.weight_bits) == (widths[::-1] if swap else widths)
    low, high = operands.span(table.weight_bits)
    assert table.values.shape == (high - low + 1, 256) and table.offset == -low
    for weight in {low, low + 1, 0, high}:
        for code in {0, 1, (1 << table.code_bits) - 1}:
            assert table.values[weight - low, code] == product(circuit, operands, code, weight, swap)
    beyond = table.values[:, (1 << table.code_bits) - 1 :]
    assert (beyond == beyond[:, :1]).all() and not table.error()[:, 1 << table.code_bits :].any()


@pytest.mark.parametrize("name", ["mul4u_array", "mul3x6u_array", "mul5x3s_exact"])
def test_exact_narrow_circuits_are_exact(name: str) -> None:
    circuit = generate(name)
    assert layer_table(circuit, Operands.SIGNED if circuit.signed else Operands.SIGN_MAGNITUDE_9).exact


def test_circuits_wider_than_8_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="9x8 bits wide, layers need 2..8"):
        layer_table(generate("mul9x8u_array"), Operands.AFFINE)


def small_network(bits: int = 8) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten())
    model.append(nn.Linear(64, 3))
    images = torch.randn(6, 2, 6, 6)
    return quantise(model.eval(), [images], bits=bits), images


@pytest.mark.parametrize("bits", [2, 4, 7])
@pytest.mark.parametrize("operands", list(Operands))
def test_a_network_of_narrow_operands_computes_what_its_circuit_says(bits: int, operands: Operands) -> None:
    network, images = small_network(bits)
    circuit = random_circuit(bits, 3, operands.signed_circuit)
    network.assign(Assignment({"*": Choice("test", operands)}), Library([circuit]))
    layer = network.layers()["0"]
    numbers, source = layer.integers(), layer.sources[0]
    assert source.codes(images).max() == (1 << bits) - 1
    low, high = operands.span(3)
    assert numbers.values.min() >= low and numbers.values.max() <= high and numbers.values.float().std() > 0.3
    codes = np.pad(source.codes(images)[0].numpy(), ((0, 0), (1, 1), (1, 1)), constant_values=int(source.zero_point))
    total = int(numbers.bias[1])
    for c, i, j in np.ndindex(2, 3, 3):
        x, w = int(codes[c, i, j]), int(numbers.values[1, c, i, j])
        total += product(circuit, operands, x, w, False)
        total -= int(numbers.weight_zero[1]) * x + int(source.zero_point) * (w - int(numbers.weight_zero[1]))
    assert int(layer.accumulate(images, numbers)[0, 0, 0, 1]) == total
    assert network(images).isfinite().all()


def test_fewer_bits_by_pattern_and_less_precision() -> None:
    network, images = small_network()
    wanted = network(images)
    errors = []
    for bits in (2, 4, 6):
        coarse, _ = small_network(bits)
        errors.append(float((coarse(images) - wanted).detach().square().mean()))
    assert errors[0] > errors[1] > errors[2] > 0
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)).eval()
    mixed = quantise(model, [images], bits={"*": 6, "0": 3})
    assert [op.output.bits for op in mixed.operations() if not op.moves_only] == [6, 3, 16]
    assert int(mixed.layers()["3"].codes(mixed.graph_module.op_0(images)).max()) <= 7


@pytest.mark.parametrize("bits", [1, 9, {"nothing": 4}])
def test_impossible_widths_are_refused(bits: int | dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"expected 2\.\.8 bits"):
        quantise(nn.Sequential(nn.Linear(4, 2)), [torch.randn(3, 4)], bits=bits)


def test_activations_wider_than_the_circuit_are_refused() -> None:
    network, images = small_network(bits=5)
    narrow, before = generate("mul4u_array"), network.layers()["2"].layer_circuit
    with pytest.raises(ValueError, match="'2' reads 5-bit activations, multiplier 'mul4u_array' takes 4"):
        network.assign(Assignment({"2": Choice("mul4u_array")}), Library([narrow]))
    assert network.layers()["2"].layer_circuit is before
    network.layers()["2"].use_circuit("mul4u_array", Operands.AFFINE, layer_table(narrow, Operands.AFFINE))
    with pytest.raises(ValueError, match="'2' reads activations of 5 bits, multiplier 'mul4u_array' takes 4"):
        network(images)


def mixed_layer() -> tuple[nn.Module, torch.Tensor, dict[str, LayerTable]]:
    network, images = small_network()
    names = ("mul8u_trunc4", "mul8u_drum4", "mul8u_array")
    return network, images, {n: layer_table(generate(n), Operands.SIGN_MAGNITUDE) for n in names}


@pytest.mark.parametrize("label", ["0", "2", "4"])
def test_each_channel_is_its_own_circuit_s(label: str) -> None:
    network, images, tables = mixed_layer()
    layer, seen = network.layers()[label], []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(images)
    hook.remove()
    alone = {}
    for name, table in tables.items():
        layer.use_circuit(name, Operands.SIGN_MAGNITUDE, table)
        alone[name] = layer.accumulate(seen[0], layer.integers())
    of_channel = [list(tables)[i % 3] for i in range(len(layer.weight))]
    layer.use_circuits(tables, Operands.SIGN_MAGNITUDE, of_channel)
    assert layer.mixed and layer.table is not None
    found = layer.accumulate(seen[0], layer.integers())
    for channel, name in enumerate(of_channel):
        assert torch.equal(found[..., channel], alone[name][..., channel])
    network(images).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0
    layer.use_circuit("exact", Operands.SIGN_MAGNITUDE, None)
    assert not layer.mixed and layer.table is None


def test_bad_channel_circuits_are_refused() -> None:
    network, _, tables = mixed_layer()
    layer = network.layers()["0"]
    before = layer.layer_circuit
    with pytest.raises(ValueError, match=r"layer '0': .* for each of 4 output channels, got 2 names"):
        layer.use_circuits(tables, Operands.SIGN_MAGNITUDE, ["mul8u_drum4"] * 2)
    with pytest.raises(ValueError, match=r"layer '0': expected circuits among .*'mul8u_drum4'.*, got \['x'\]"):
        layer.use_circuits(tables, Operands.SIGN_MAGNITUDE, ["x", *["mul8u_drum4"] * 3])
    narrow = layer_table(generate("mul4u_array"), Operands.SIGN_MAGNITUDE)
    with pytest.raises(ValueError, match="differ in width or coding"):
        layer.use_circuits({**tables, "n": narrow}, Operands.SIGN_MAGNITUDE, ["n", *["mul8u_drum4"] * 3])
    layer.use_gradient(4)
    several = [*list(tables)[:1], *["mul8u_drum4"] * 3]
    with pytest.raises(ValueError, match="layer '0': table differences need one circuit a layer"):
        layer.use_circuits(tables, Operands.SIGN_MAGNITUDE, several)
    layer.use_gradient("line")
    assert (layer.circuit, layer.table, layer.layer_circuit.products) == (before.name, None, before.products)
    layer.use_circuits(tables, Operands.SIGN_MAGNITUDE, several)
    with pytest.raises(ValueError, match="layer '0': table differences need one circuit a layer"):
        layer.use_gradient(4)
    assert layer.mixed and layer.gradient == "line"


def test_more_circuits_than_16_bit_rows() -> None:
    network = quantise(nn.Sequential(nn.Linear(6, 140)).eval(), [torch.rand(8, 6)])
    layer = next(iter(network.layers().values()))
    values = exact_table(Operands.SIGN_MAGNITUDE).values
    tables = {str(i): LayerTable(values + np.int32(i + 1), 127) for i in range(140)}
    numbers, codes = layer.integers(), layer.codes(torch.rand(3, 6))
    exact = layer.sums(codes, numbers)[0]
    layer.use_circuits(tables, Operands.SIGN_MAGNITUDE, list(tables))
    assert torch.equal(layer.sums(codes, numbers)[0], exact + 6 * torch.arange(1, 141, dtype=torch.int32))


def test_widths_are_those_of_the_last_call_and_equal_ones_stay_calibrated() -> None:
    network, images = small_network(bits=4)
    steps = [step for step in network.steps() if not step.moves_only and step.output.bits <= 8]
    network.use_bits({"*": 7, steps[0].label: 4})
    assert steps[0].output.calibrated and [step.output.bits for step in steps] == [4] + [7] * (len(steps) - 1)
    network.use_bits({steps[1].label: 5})
    widths = [8, 5] + [8] * (len(steps) - 2)
    assert [step.output.bits for step in steps] == widths
    with pytest.raises(ValueError, match="expected 2..8 bits"):
        network.use_bits({"*": 3, steps[0].label: 9})
    assert [step.output.bits for step in steps] == widths
    assert torch.isfinite(network.calibrate([images])(images)).all()


def test_a_refused_half_window_leaves_the_layer_as_it_was() -> None:
    network = quantise(nn.Sequential(nn.Linear(6, 4)).eval(), [torch.rand(8, 6)], 4)
    layer = next(iter(network.layers().values()))
    layer.use_gradient(60)
    drum = layer_table(generate("mul4u_drum3"), Operands.SIGN_MAGNITUDE)
    with pytest.raises(ValueError, match=r"expected 0\.\.6"):
        layer.use_circuit("mul4u_drum3", Operands.SIGN_MAGNITUDE, drum)
    assert (layer.circuit, layer.table) == ("exact", None)
    layer.use_gradient("line")
    layer.use_circuit("mul4u_drum3", Operands.SIGN_MAGNITUDE, drum)
    with pytest.raises(ValueError, match=r"expected 0\.\.6"):
        layer.use_gradient(60)
    assert layer.gradient == "line"


def test_derivatives_see_only_codes_of_the_circuit() -> None:
    table = layer_table(generate("mul4u_drum3"), Operands.SIGN_MAGNITUDE)
    planes, _ = derivative_planes(table, 1)
    found = (planes.of_weight.T @ planes.of_code).numpy()
    np.testing.assert_allclose(found[:, :16], smoothed_difference(table.values[:, :16], 1), atol=0.05)
    assert not found[:, 16:].any()


def test_other_widths_have_to_be_calibrated() -> None:
    network = quantise(nn.Sequential(nn.Linear(6, 4)).eval(), [torch.rand(8, 6)])
    with pytest.raises(ValueError, match="not calibrated"):
        network.use_bits(4)(torch.rand(2, 6))


def test_a_lower_resolution_narrows_ranges_and_keeps_the_codes_width() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    images = torch.randn(64, 3, 8, 8)
    scales = []
    for resolution in (8, 6, 4, 2):
        network = quantise(model, [images], resolution=resolution)
        hidden = network.layers()["2"].sources[0]
        assert hidden.bounds == (0, 255)
        scales.append(float(hidden.scale))
    assert scales == sorted(scales, reverse=True) and scales[-1] < 0.7 * scales[0]
    assert [q.bits for q in network.quantizers.values()].count(16) == 1


@pytest.mark.parametrize("resolution", [1, 9])
def test_an_impossible_resolution_is_refused(resolution: int) -> None:
    with pytest.raises(ValueError, match=r"resolution of 2\.\.8 bits, got"):
        quantise(nn.Sequential(nn.Conv2d(1, 2, 3)), [torch.rand(1, 1, 4, 4)], resolution=resolution)
