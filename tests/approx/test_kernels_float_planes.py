"""Factor planes in torch's convolutions equal the reference entry for entry."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from approx.kernels import float_planes, reference
from approx.kernels.factorisation import Factorisation
from approx.kernels.geometry import conv_geometry

PLAIN = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, "pad_code": 0}


def _factors(planes: int, n_w: int, scale: int = 5, term: int = 1000) -> Factorisation:
    """Random factors that reach the ends of their ranges; the table's first entry is not 0."""
    v, u = torch.randint(-128, 128, (planes, n_w)), torch.randint(0, 256, (planes, 256))
    v[:, -1], u[:, 3], u[:, 200] = -128, 255, 0
    f, g = torch.randint(-term, term + 1, (n_w,)), torch.randint(-term, term + 1, (256,))
    scales = torch.randint(1, scale + 1, (planes,))
    found = Factorisation(f.int(), g.int(), scales.int(), v.to(torch.int8), u.to(torch.uint8))
    f[0] += found.table()[0, 0] == 0
    return Factorisation(f.int(), g.int(), scales.int(), v.to(torch.int8), u.to(torch.uint8))


def _both(codes: torch.Tensor, index: torch.Tensor, factors: Factorisation, options: dict) -> tuple[torch.Tensor, ...]:
    shape = conv_geometry(codes, index, options["stride"], options["padding"], options["dilation"], options["groups"])
    found = float_planes.conv2d(codes, index, factors, shape, options["pad_code"])
    assert found.is_contiguous() and found.dtype == torch.int32
    return found, reference.table_conv2d(codes, index, factors.table(), **options)


@st.composite
def cases(draw: Callable) -> tuple[torch.Tensor, torch.Tensor, Factorisation, dict]:
    torch.manual_seed(draw(st.integers(0, 2**31)))
    groups = draw(st.sampled_from([1, 1, 2, 16]))
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(*[st.integers(0, 4)] * 4))
    padding = (*padding[:2], *padding[:2]) if draw(st.booleans()) else padding
    height = max(1, dilation[0] * (kernel[0] - 1) + 1 - padding[0] - padding[2]) + draw(st.integers(0, 5))
    width = max(1, dilation[1] * (kernel[1] - 1) + 1 - padding[1] - padding[3]) + draw(st.integers(0, 5))
    channels, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    factors = _factors(
        draw(st.integers(0, 4)),
        draw(st.sampled_from([1, 2, 255, 511])),
        term=draw(st.sampled_from([0, 1000, 10**6])),
        scale=draw(st.sampled_from([1, 5])),
    )
    return (
        torch.randint(0, 256, (draw(st.integers(1, 3)), height, width, channels * groups), dtype=torch.uint8),
        torch.randint(0, len(factors.f), (outputs * groups, *kernel, channels), dtype=torch.int16),
        factors,
        {
            "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "pad_code": draw(st.integers(0, 255)),
        },
    )


@settings(max_examples=150)
@given(case=cases())
def test_float_planes_equal_the_reference(case: tuple[torch.Tensor, torch.Tensor, Factorisation, dict]) -> None:
    found, expected = _both(*case)
    assert torch.equal(found, expected)


def test_a_step_beyond_the_only_column() -> None:
    """oneDNN's own sums are wrong here: one input channel, one output column, a horizontal step of 3."""
    codes, index = torch.randint(0, 256, (1, 5, 4, 1)).byte(), torch.randint(0, 255, (1, 4, 4, 1)).short()
    for columns in (0, 1, 2):
        options = {**PLAIN, "stride": (1, 3), "padding": (0, columns, 0, 0)}
        found, expected = _both(codes, index, _factors(1, 255), options)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("fan_in", [514, 515, 60_000])
def test_sums_beyond_float32_are_added_in_float64(fan_in: int) -> None:
    """255 * -128 and 255 * 127 in one sum: 514 of them are below 2^24, 515 beyond; odd sums would be rounded."""
    v = torch.tensor([[-128, 127]], dtype=torch.int8)
    zero = torch.zeros(2, dtype=torch.int32)
    u = torch.arange(256, dtype=torch.uint8)[None]
    factors = Factorisation(zero, torch.zeros(256).int(), torch.ones(1).int(), v, u)
    weight = v[0][torch.zeros(1, 1, 1, fan_in).long()]
    assert float_planes._exact_type(weight, u[0].long()) == (torch.float32 if fan_in == 514 else torch.float64)
    codes, index = torch.full((4, 1, 1, fan_in), 255).byte(), torch.zeros(9, 1, 1, fan_in).short()
    codes[:, :, :, 0] = 1
    index[3:] = 1
    found, expected = _both(codes, index, factors, PLAIN)
    assert torch.equal(found, expected) and int(found[0, 0, 0, 0]) == -128 * 255 * (fan_in - 1) - 128


def test_a_bound_beyond_float64_is_refused() -> None:
    with pytest.raises(ValueError, match="below 2\\^53, got a bound of 9007199254740992; use the reference"):
        float_planes._exact_type(torch.full((1, 1, 1, 2), 2**21), torch.tensor([0, 2**31]))


def test_what_overflows_on_the_way_does_no_harm() -> None:
    """Huge planes that cancel, and a huge f that g takes back."""
    plain = _factors(3, 255)
    v, u = plain.v.clone(), plain.u.clone()
    v[1], u[1] = -v[0].clamp(min=-127), u[0]
    v[0] = -v[1]
    scale, huge = torch.tensor([2**30 - 1, 2**30 - 1, 1], dtype=torch.int32), 2**31 - 4000
    factors = Factorisation(plain.f + huge, plain.g - huge, scale, v, u)
    assert factors.table().abs().max() < 2**16
    codes, index = torch.randint(0, 256, (2, 4, 4, 9)).byte(), torch.randint(0, 255, (5, 3, 3, 9)).short()
    found, expected = _both(codes, index, factors, {**PLAIN, "padding": (1, 0, 2, 1), "pad_code": 77})
    assert torch.equal(found, expected)


@pytest.mark.parametrize("groups", [1, 32])
def test_users_settings_of_torch_do_not_show(groups: int) -> None:
    """Autocast and a lower float32 precision would round; the default type must not be used."""
    codes, index = (
        torch.randint(0, 256, (2, 12, 12, 32)).byte(),
        torch.randint(0, 255, (32, 3, 3, 32 // groups)).short(),
    )
    options = {**PLAIN, "padding": (1, 1, 1, 1), "groups": groups, "pad_code": 9}
    precision, default = torch.get_float32_matmul_precision(), torch.get_default_dtype()
    try:
        torch.set_float32_matmul_precision("medium")
        torch.set_default_dtype(torch.float16)
        with torch.autocast("cpu", torch.bfloat16):
            found, expected = _both(codes, index, _factors(2, 255), options)
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.set_default_dtype(default)
    assert torch.equal(found, expected)


def test_prepare_finds_planes() -> None:
    weight, code = torch.arange(-127, 128)[:, None], torch.arange(256)
    assert float_planes.prepare((weight * code).int()).planes == 1
    flat = float_planes.prepare((weight * 3 + code).int())
    assert flat.planes == 0
    codes, index = torch.randint(0, 256, (2, 4, 4, 9)).byte(), torch.randint(0, 255, (5, 3, 3, 9)).short()
    found, expected = _both(codes, index, flat, PLAIN)
    assert torch.equal(found, expected)
    assert float_planes.prepare(torch.randint(-999, 999, (255, 256), dtype=torch.int32)) is None
