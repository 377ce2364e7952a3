"""Gradients of integer layers: what is kept for them, and all rules against their definitions."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from approx import Arithmetic, Gradient, LayerTable, Operands, QuantisedNetwork, quantise
from approx import difference_gradient as rule
from approx.addition import QuantAdd
from approx.convolution import QuantConv
from approx.kernels import pointwise
from approx.layer import QuantLayer
from approx.line_gradient import line_weight
from approx.operation import zero_of
from approx.quantizer import Quantizer

CONVOLUTIONS = [
    nn.Conv2d(2, 3, 3, padding=1),
    nn.Conv2d(4, 4, (3, 2), stride=(2, 1), padding=(0, 1), groups=2),
    nn.Conv2d(2, 2, 4, padding="same"),
]


def exact_table(operands: Operands) -> LayerTable:
    weights = np.arange(operands.lowest, operands.highest + 1, dtype=np.int32)
    return LayerTable(weights[:, None] * np.arange(256, dtype=np.int32), -operands.lowest)


def rough_table(operands: Operands) -> LayerTable:
    """Products with noise, odd in the weight as a sign-magnitude circuit's are."""
    exact = exact_table(operands)
    noise = np.random.default_rng(1).integers(-900, 900, (256, 256))[np.abs(exact.weight_values)]
    values = np.sign(exact.weight_values)[:, None] * np.clip(np.abs(exact.values) + noise, 0, 65535)
    return LayerTable(values.astype(np.int32), exact.offset)


def layer_of(module: nn.Module, operands: Operands, table: LayerTable | None) -> tuple[QuantLayer, torch.Tensor]:
    """A calibrated layer and an input on its grid; the table is used even where it is exact."""
    shape = (7,) if isinstance(module, nn.Linear) else (module.in_channels, 6, 6)
    images = torch.randn(3, *shape) + 0.5
    if images.dim() == 4:
        images = images.contiguous(memory_format=torch.channels_last)  # as networks do
    network = quantise(nn.Sequential(module, nn.ReLU()), [images])
    layer = next(iter(network.layers().values()))
    layer.gain.copy_(torch.linspace(0.9, 1.1, len(layer.gain)))
    layer.use_circuit("test", operands, table)
    if table is not None:
        layer.layer_circuit = dataclasses.replace(layer.layer_circuit, exact=False)
    source = layer.sources[0]
    return layer, source.reals(source.codes(images)).requires_grad_()


def gradients(layer: QuantLayer, x: torch.Tensor, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Of input, weight and bias."""
    return torch.autograd.grad(layer(x), (x, layer.weight, layer.bias), grad)


def unclamped(layer: QuantLayer, x: torch.Tensor) -> torch.Tensor:
    """Where rounding alone brings the real result to a code within the bounds."""
    with torch.no_grad():
        numbers, (low, high) = layer.integers(), layer.bounds
        steps = layer.accumulate(x, numbers) * numbers.scale / layer.output.scale
        code = torch.floor(steps + 0.5) + zero_of(layer.output)
        return layer.channels_first((code >= low) & (code <= high))


@pytest.mark.parametrize("table", [None, rough_table], ids=["exact", "table"])
def test_one_byte_an_activation_is_kept(table) -> None:
    images = torch.randn(4, 5, 12, 11)
    network = quantise(nn.Sequential(nn.Conv2d(5, 2, 3), nn.ReLU()), [images])
    (layer,) = network.layers().values()
    layer.use_circuit("test", Operands.SIGN_MAGNITUDE, table and table(Operands.SIGN_MAGNITUDE))
    x = layer.sources[0].reals(layer.sources[0].codes(images)).requires_grad_()
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t), t)[1], lambda t: t):
        output = layer(x)
    activation = [t for t in kept if t.numel() == x.numel()]
    assert [t.dtype for t in activation] == [torch.uint8]
    assert 4 * activation[0].untyped_storage().nbytes() == x.untyped_storage().nbytes()
    sizes = x.numel() + output.numel() + layer.weight.numel() * 4  # codes, where the output is free, weights
    assert sum(t.untyped_storage().nbytes() for t in kept) == sizes


@pytest.mark.parametrize("module", [*CONVOLUTIONS, nn.Linear(7, 4)], ids=str)
@pytest.mark.parametrize("operands", list(Operands))
@pytest.mark.parametrize("table", [None, rough_table], ids=["exact", "table"])
def test_straight_through_is_the_real_layer_s_gradient_bit_for_bit(module, operands: Operands, table) -> None:
    layer, x = layer_of(module, operands, table and table(operands))
    layer.use_gradient("straight")
    grad = torch.randn_like(layer(x))
    with torch.no_grad():
        free = grad * unclamped(layer, x)
        numbers, gain = layer.integers(), layer.gain.float().view(-1, *[1] * (layer.weight.dim() - 1))
        weight = layer._rounded(numbers.values, numbers.weight_scale, numbers.weight_zero)
        into_x, into_weight = layer.gradients(free, x.detach(), weight * gain)
        wanted = into_x, into_weight * gain, free.transpose(0, 1).flatten(1).sum(1)
    assert free.count_nonzero() < grad.count_nonzero()
    found = gradients(layer, x, grad)
    assert all(torch.equal(a, b) for a, b in zip(found[:2], wanted[:2], strict=True))
    torch.testing.assert_close(found[2], wanted[2])


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("operands", [Operands.SIGN_MAGNITUDE, Operands.AFFINE])
@pytest.mark.parametrize("bits", [2, 8])
def test_the_first_and_the_last_code_let_gradients_through(
    bits: int, operands: Operands, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(pointwise, "usable", lambda *_: False)
    images = torch.randn(3000, 3)
    network = quantise(nn.Sequential(nn.Linear(3, 1), nn.ReLU()), [images])
    (layer,) = network.layers().values()
    layer.output.use_bits(bits)
    network.calibrate([images])
    layer.output.scale.mul_(0.5)  # a good part is clamped
    layer.use_circuit("test", operands, None)
    x = layer.sources[0].reals(layer.sources[0].codes(images)).requires_grad_()
    codes, free = layer.output.codes(layer(x).detach()), unclamped(layer, x)
    (into_x,) = torch.autograd.grad(layer(x), x, torch.ones(3000, 1))
    assert torch.equal(into_x.any(1, keepdim=True), free)
    at_bounds = [codes == bound for bound in layer.bounds]
    assert free[~(at_bounds[0] | at_bounds[1])].all()
    assert all(free[at].any() and not free[at].all() for at in at_bounds)
    layer.arithmetic = Arithmetic.FAKE
    (fake,) = torch.autograd.grad(layer(x), x, torch.ones(3000, 1))
    assert (fake.any(1, keepdim=True) == free).float().mean() > (0.8 if bits == 2 else 0.99)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_sum_stops_gradients_where_its_code_is_clamped(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(pointwise, "usable", lambda *_: False)
    left, right, output = Quantizer(), Quantizer(), Quantizer(2)
    for quantizer in (left, right, output):
        quantizer._set(1.0 if quantizer is output else 0.25, 1)
    add = QuantAdd("sum", (left, right), output)
    add.arithmetic = Arithmetic.INTEGER
    x = torch.arange(-1, 20).mul(0.25).requires_grad_()
    y = torch.full_like(x, -0.25).where(x < 0.5, -0.25 * 0)
    values = add(x, y)
    (into_x,) = torch.autograd.grad(values.sum(), x)
    nearest = torch.floor(x.detach() + y + 0.5)
    assert torch.equal(values.detach(), nearest.clamp(-1, 2)) and set(nearest.tolist()) >= {-0.0, 2.0, 3.0}
    assert torch.equal(into_x, (nearest <= 2).float())


def test_rounding_before_a_layer_does_not_change_its_gradient() -> None:
    layer, x = layer_of(CONVOLUTIONS[0], Operands.SIGN_MAGNITUDE, rough_table(Operands.SIGN_MAGNITUDE))
    off = (x.detach() * (1 + 3e-7)).requires_grad_()  # what real arithmetic before the layer leaves
    grad = torch.randn(3, 3, 6, 6)
    assert all(torch.equal(a, b) for a, b in zip(gradients(layer, x, grad), gradients(layer, off, grad), strict=True))


def test_an_input_without_gradient_costs_none() -> None:
    layer, x = layer_of(CONVOLUTIONS[0], Operands.SIGN_MAGNITUDE, rough_table(Operands.SIGN_MAGNITUDE))
    wanted = gradients(layer, x, torch.ones(3, 3, 6, 6))
    layer(x.detach()).sum().backward()
    assert torch.equal(layer.weight.grad, wanted[1])


@pytest.mark.parametrize("module", [*CONVOLUTIONS, nn.ConvTranspose2d(2, 3, 3, stride=2), nn.Linear(7, 4)], ids=str)
@pytest.mark.parametrize("operands", list(Operands))
def test_lines_are_least_squares_over_the_codes_of_the_batch(module, operands: Operands) -> None:
    layer, x = layer_of(module, operands, rough_table(operands))
    grad = torch.randn_like(layer(x))
    codes = layer.codes(x.detach()).flatten().numpy()
    numbers = layer.integers()
    rows = (numbers.values.long() + layer.table.offset).flatten().numpy()
    slopes = [np.polyfit(codes, layer.table.values[row][codes], 1)[0] for row in rows]
    channel = (-1, *[1] * (layer.weight.dim() - 1))
    line = torch.tensor(slopes).view(layer.weight.shape) - numbers.weight_zero.view(channel)
    weight = (line * numbers.weight_scale.view(channel)).float() * layer.gain.float().view(channel)
    wanted, _ = layer.gradients(grad * unclamped(layer, x), x.detach(), weight)
    found, into_weight, _ = gradients(layer, x, grad)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    layer.use_gradient("straight")
    straight = gradients(layer, x, grad)
    assert torch.equal(into_weight, straight[1]) and not torch.allclose(found, straight[0], rtol=0.01)


@pytest.mark.parametrize("operands", list(Operands))
def test_lines_of_exact_products_are_straight_through(operands: Operands) -> None:
    layer, x = layer_of(CONVOLUTIONS[0], operands, exact_table(operands))
    grad = torch.randn_like(layer(x))
    found = gradients(layer, x, grad)
    layer.use_gradient("straight")
    for mine, right in zip(found, gradients(layer, x, grad), strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-5, atol=1e-6)


def test_no_line_goes_through_a_single_code() -> None:
    layer, x = layer_of(nn.Linear(7, 4), Operands.SIGN_MAGNITUDE, rough_table(Operands.SIGN_MAGNITUDE))
    still = layer.sources[0].reals(torch.full_like(layer.codes(x.detach()), 130)).requires_grad_()
    grad = torch.randn(3, 4)
    found = gradients(layer, still, grad)
    layer.use_gradient("straight")
    assert found[0].any() and torch.equal(found[0], gradients(layer, still, grad)[0])


def test_lines_of_several_circuits_are_each_channel_s_own() -> None:
    rough, exact = rough_table(Operands.SIGNED), exact_table(Operands.SIGNED)
    layer, x = layer_of(nn.Linear(7, 4), Operands.SIGNED, rough)
    grad = torch.randn_like(layer(x))

    def of_each_channel() -> list[torch.Tensor]:
        picks = torch.eye(4)[:, None] * grad * unclamped(layer, x)
        return [line_gradient(layer, pick, x) for pick in picks]

    def line_gradient(layer: QuantLayer, pick: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        numbers = layer.integers()
        weight = layer._rounded(numbers.values, numbers.weight_scale, numbers.weight_zero).detach()
        bent = line_weight(layer, numbers, weight, layer.codes(x.detach()))
        return layer.gradients(pick, x.detach(), bent, (True, False))[0]

    alone = of_each_channel()
    layer.use_circuit("exact", Operands.SIGNED, exact)
    straight = of_each_channel()
    layer.use_circuits({"r": rough, "e": exact}, Operands.SIGNED, ["r", "e", "e", "r"])
    mixed = of_each_channel()
    for channel, right in enumerate((alone, straight, straight, alone)):
        torch.testing.assert_close(mixed[channel], right[channel], rtol=1e-4, atol=1e-5)


def test_differences_by_hand() -> None:
    squares = np.array([[0, 1, 4, 9, 16, 25, 36]], np.int32)
    assert rule.smoothed_difference(squares, 0).tolist() == [[36 / 7, 2, 4, 6, 8, 10, 36 / 7]]
    # windows of three: 5/3, 14/3, 29/3, 50/3, 77/3 around 1..5
    found = rule.smoothed_difference(squares, 1)[0]
    np.testing.assert_allclose(found, [36 / 7] * 2 + [4, 6, 8] + [36 / 7] * 2)
    falling_and_flat = np.array([[6, 4, 2, 0, 0, 0, 0], [5, 9, 2, 7, 3, 3, 5]], np.int32)
    wanted = [[-6 / 7, -2, -2, -1, 0, 0, -6 / 7], [0, -1.5, -1, 0.5, -2, 1, 0]]
    np.testing.assert_allclose(rule.smoothed_difference(falling_and_flat, 0), wanted)


@pytest.mark.parametrize("half_window", [1, 4, 32])
def test_rows_of_opposite_weights_have_opposite_derivatives(half_window: int) -> None:
    slope = rule.smoothed_difference(rough_table(Operands.SIGN_MAGNITUDE).values, half_window)
    np.testing.assert_allclose(slope, -slope[::-1], atol=1e-9)


@pytest.mark.parametrize("half_window", [1, 8, 64])
@pytest.mark.parametrize("operands", list(Operands))
def test_of_exact_products_inside_the_table_it_is_straight_through(operands: Operands, half_window: int) -> None:
    layer, x = layer_of(CONVOLUTIONS[0], operands, exact_table(operands))
    edge, source = half_window + 1, layer.sources[0]
    codes = source.codes(x.detach()).clamp(edge, 255 - edge)
    x = source.reals(codes).requires_grad_()
    grad = torch.randn(3, 3, 6, 6)
    wanted = gradients(layer, x, grad)
    layer.use_gradient(half_window)
    found = gradients(layer, x, grad)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-4, atol=1e-5)
    values = layer.integers().values
    inside = (values >= operands.lowest + edge) & (values <= operands.highest - edge)
    assert inside.any() and not inside.all()
    torch.testing.assert_close(found[1][inside], wanted[1][inside], rtol=1e-4, atol=1e-4)
    assert torch.equal(found[2], wanted[2])


def spelt_out(layer: QuantConv, x: torch.Tensor, grad: torch.Tensor, half_window: int) -> tuple[np.ndarray, ...]:
    """Gradients of input and weight by the chain rule, one product at a time."""
    numbers, g, source, table = layer.integers(), layer.geometry, layer.sources[0], layer.table
    along_code = rule.smoothed_difference(table.values, half_window)
    along_weight = rule.smoothed_difference(table.values.T, half_window).T
    zero, (top, left, bottom, right) = zero_of(source), g.padding
    codes = np.pad(source.codes(x).numpy(), ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=zero)
    codes, rows = codes.astype(int), numbers.values.numpy() + table.offset
    scale, weight_zero = numbers.weight_scale.numpy(), numbers.weight_zero.numpy()
    into_x, into_weight = np.zeros(codes.shape), np.zeros(rows.shape)
    per_group = len(rows) // g.groups
    for n, o, i, j in itertools.product(*map(range, grad.shape)):
        gained = float(grad[n, o, i, j]) * float(layer.gain[o])
        for c, u, v in itertools.product(*map(range, rows.shape[1:])):
            place = (
                n,
                o // per_group * rows.shape[1] + c,
                i * g.stride[0] + u * g.dilation[0],
                j * g.stride[1] + v * g.dilation[1],
            )
            pair = rows[o, c, u, v], codes[place]
            into_x[place] += gained * scale[o] * (along_code[pair] - weight_zero[o])
            into_weight[o, c, u, v] += gained * float(source.scale) * (along_weight[pair] - zero)
    height, width = x.shape[2:]
    return into_x[:, :, top : top + height, left : left + width], into_weight


@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("operands", list(Operands))
def test_differences_are_the_chain_rule_spelt_out(
    conv: nn.Conv2d, operands: Operands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule, "TOLERANCE", 1e-7)
    layer, x = layer_of(conv, operands, rough_table(operands))
    layer.use_gradient(2)
    grad = torch.randn_like(layer(x))
    wanted = spelt_out(layer, x.detach(), grad * unclamped(layer, x), 2)
    for mine, right in zip(gradients(layer, x, grad), wanted, strict=False):
        np.testing.assert_allclose(mine.numpy(), right, rtol=1e-3, atol=1e-4 * np.abs(right).max())


@pytest.mark.parametrize("operands", [Operands.SIGN_MAGNITUDE, Operands.AFFINE, Operands.SIGNED])
def test_differences_of_a_linear_layer(operands: Operands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "TOLERANCE", 1e-7)
    layer, x = layer_of(nn.Linear(7, 4), operands, rough_table(operands))
    layer.use_gradient(3)
    grad = torch.randn(3, 4) * unclamped(layer, x)
    pairs = (layer.integers().values.long() + layer.table.offset)[None], layer.sources[0].codes(x).long()[:, None]
    numbers, gained = layer.integers(), (grad * layer.gain).double()
    slope_x = torch.tensor(rule.smoothed_difference(layer.table.values, 3))[pairs]
    slope_w = torch.tensor(rule.smoothed_difference(layer.table.values.T, 3).T)[pairs]
    into_x = torch.einsum("no,nok->nk", gained * numbers.weight_scale, slope_x - numbers.weight_zero[:, None])
    into_weight = torch.einsum("no,nok->ok", gained, slope_w - zero_of(layer.sources[0])) * layer.sources[0].scale
    found = gradients(layer, x, grad)
    torch.testing.assert_close(found[0], into_x.float(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found[1], into_weight.float(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("half_window", [1, 4, 16])
def test_planes_keep_the_derivative_to_their_tolerance(half_window: int) -> None:
    table = rough_table(Operands.SIGN_MAGNITUDE)
    wanted = (
        rule.smoothed_difference(table.values, half_window),
        rule.smoothed_difference(table.values.T, half_window).T,
    )
    for planes, right in zip(rule.derivative_planes(table, half_window), wanted, strict=True):
        left = np.linalg.norm((planes.of_weight.T @ planes.of_code).double().numpy() - right)
        assert left <= 1.01 * rule.TOLERANCE * np.linalg.norm(right)
    for planes in rule.derivative_planes(exact_table(Operands.AFFINE), half_window):
        assert planes.of_weight.shape == (1, 256) and planes.of_code.shape == (1, 256)


def test_it_sees_what_straight_through_does_not() -> None:
    doubled = exact_table(Operands.SIGNED)
    doubled = LayerTable(2 * doubled.values, doubled.offset)
    layer, x = layer_of(nn.Linear(7, 4), Operands.SIGNED, doubled)
    x = layer.sources[0].reals(layer.sources[0].codes(x.detach()).clamp(9, 246)).requires_grad_()
    grad = torch.randn(3, 4)
    found = {}
    for gradient in ("straight", "line", 8, "straight"):
        layer.use_gradient(gradient)
        again = found.get(gradient)
        found[gradient] = gradients(layer, x, grad)[0]
        assert again is None or torch.equal(again, found[gradient])
    for gradient in ("line", 8):
        torch.testing.assert_close(found[gradient], 2 * found["straight"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gradient", ["line", 4])
def test_a_table_of_zeros_has_no_gradient(gradient: Gradient) -> None:
    layer, x = layer_of(nn.Linear(7, 4), Operands.SIGNED, LayerTable(np.zeros((255, 256), np.int32), 127))
    layer.use_gradient(gradient)
    into_x, into_weight, _ = gradients(layer, x, torch.randn(3, 4))
    torch.testing.assert_close(into_x, torch.zeros_like(into_x), rtol=0, atol=1e-6)
    assert torch.isfinite(into_weight).all()


def test_half_windows_that_do_not_fit_are_refused() -> None:
    layer, _ = layer_of(nn.Linear(7, 4), Operands.AFFINE, None)
    for wrong in (-1, 126):
        with pytest.raises(ValueError, match=rf"half_window: expected 0..125, got {wrong}; published ones are 1..64"):
            layer.use_gradient(wrong)
    for neither in ("curve", None, 4.5, True):
        with pytest.raises(ValueError, match='gradient: expected "line", "straight" or a half window, 0..125, got '):
            layer.use_gradient(neither)
    layer.use_gradient(125)
    with pytest.raises(ValueError, match=r"half_window: expected 0..1 for 5 values, got 2"):
        rule.smoothed_difference(np.zeros((1, 5), np.int32), 2)


def _peak(run, kept: int) -> int:
    """Bytes PyTorch holds at most during a call, `kept` of them before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    return kept + int(np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]).max())


@pytest.mark.parametrize("operands", [Operands.SIGN_MAGNITUDE, Operands.AFFINE])
@pytest.mark.parametrize("table", [None, rough_table], ids=["exact", "table"])
def test_a_forward_holds_less_than_one_and_a_half_real_convolutions(operands: Operands, table) -> None:
    conv = nn.Conv2d(32, 32, 3, padding=1)
    images = torch.randn(64, 32, 32, 32).contiguous(memory_format=torch.channels_last)
    network: QuantisedNetwork = quantise(nn.Sequential(conv, nn.ReLU()), [images[:4]])
    (layer,) = network.layers().values()
    layer.use_circuit("test", operands, table and table(operands))
    kept = images.untyped_storage().nbytes()
    with torch.no_grad():
        layer(images)  # tables are prepared once
        assert _peak(lambda: layer(images), kept) < 1.5 * _peak(lambda: conv(images), kept)


def test_a_second_derivative_is_refused() -> None:
    network = quantise(nn.Sequential(nn.Linear(6, 4)).eval(), [torch.rand(8, 6)])
    images = torch.rand(2, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(images).square().sum(), images, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()
