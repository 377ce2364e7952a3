"""Compiled steps between layers against the readable ones, to the last bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from approx import requantise as readable
from approx import tvm_adapter
from approx.clamping import masked, within
from approx.kernels import pointwise
from approx.quantizer import Quantizer

pytestmark = pytest.mark.skipif(not tvm_adapter.tvm_available(), reason="TVM is not installed")


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"], autouse=True)
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """Both on one thread and in many small parts."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    monkeypatch.setattr(pointwise, "_PART", 64)
    yield
    torch.set_num_threads(before)


def quantizer(scale: float, zero: int, bits: int = 8) -> Quantizer:
    made = Quantizer(bits)
    made._set(scale, zero)
    return made


@pytest.mark.parametrize("bits", [8, 3])
@pytest.mark.parametrize("zero", [0, 3, 7])
def test_codes_are_the_quantizer_s(bits: int, zero: int) -> None:
    q = quantizer(0.37, zero, bits)
    scale = torch.tensor(0.37, dtype=torch.float32)
    halves = (torch.arange(-700, 700) / 2 - zero) * scale  # every rounding tie, both ways beyond the range
    far = torch.tensor([torch.inf, -torch.inf, 3e38, -3e38, 1e-45, -0.0])
    values = torch.cat([halves, halves.nextafter(torch.tensor(9e9)), halves.nextafter(-torch.tensor(9e9)), far])
    found = pointwise.codes(values.view(3, -1) if len(values) % 3 == 0 else values, q.grid)
    assert found.dtype == torch.uint8 and torch.equal(found.view(-1).float(), q.codes(values))


@pytest.mark.parametrize("compiled", [True, False])
def test_byte_codes_of_any_memory_and_type(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(pointwise, "usable", lambda *_: False)
    q = quantizer(0.02, 77)
    for values in (
        torch.randn(3, 5, 4, 6).permute(0, 2, 3, 1).requires_grad_(),
        torch.randn(9, 4).double(),
        torch.empty(0, 3),
    ):
        found = q.byte_codes(values)
        assert (
            found.dtype == torch.uint8
            and found.is_contiguous()
            and torch.equal(found.to(values), q.codes(values.detach()))
        )
    assert q.limits((3, 200)) == pytest.approx(tuple(q.reals(torch.tensor([3, 200])).tolist()))


@pytest.mark.parametrize("shape", [(0,), (1,), (7, 13), (2, 3, 5, 17)])
def test_reals_are_the_quantizer_s(shape: tuple[int, ...]) -> None:
    q, codes = quantizer(0.0123, 131), torch.randint(0, 256, shape, dtype=torch.uint8)
    assert torch.equal(pointwise.reals(codes, q.grid), q.reals(codes.long()))
    assert torch.equal(q.reals(codes), q.reals(codes.long()))


@settings(max_examples=80)
@given(st.integers(0, 40), st.integers(1, 4), st.integers(1, 21), st.booleans(), st.integers(0, 2**32 - 1))
def test_requantised_sums_are_the_readable_ones(rows: int, groups: int, width: int, affine: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    channels = groups * width
    limit = int(rng.choice([50, 1 << 20, (1 << 31) - 1]))
    sums = torch.from_numpy(rng.integers(-limit, limit, (rows, channels), np.int32, endpoint=True))
    addend = torch.from_numpy(rng.integers(-(1 << 30), 1 << 30, channels))
    factor = np.exp2(rng.uniform(-40, 0, channels)) * rng.integers(0, 2, channels)
    multiplier, shift = (torch.from_numpy(v.astype(np.int64)) for v in readable.fixed_point(factor))
    zero = int(rng.integers(0, 256))
    bounds = tuple(sorted(int(v) for v in rng.integers(0, 256, 2)))
    q = quantizer(float(rng.uniform(1e-3, 1)), zero)
    total, extra = sums + addend, None
    if affine:
        box = torch.from_numpy(rng.integers(0, 255 * 600, (rows, groups)).astype(np.int32))
        weight_zero = torch.from_numpy(rng.integers(0, 256, channels))
        total, extra = total - weight_zero * box.long().repeat_interleave(width, 1), (box, weight_zero)
    wanted = q.reals(readable.requantise(total, multiplier, shift, zero, bounds))
    code = torch.round(total.double() * multiplier.double() / torch.exp2(shift.double())) + zero  # but for halves
    free = (code >= bounds[0]) & (code <= bounds[1])
    memory, again, inside = sums.data_ptr(), sums.clone(), torch.empty_like(sums, dtype=torch.bool)
    grid = q.grid[0], zero, bounds
    found = pointwise.requantise(sums, addend, (multiplier, shift), grid, extra)
    assert found.data_ptr() == memory and torch.equal(found, wanted)
    assert torch.equal(pointwise.requantise(again, addend, (multiplier, shift), grid, extra, inside), wanted)
    assert torch.equal(inside, within(readable.rescaled(total, multiplier, shift, zero), bounds))
    assert (inside != free).sum() <= 2


@settings(max_examples=40)
@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_sums_of_activations_are_the_readable_ones(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right, out = (quantizer(float(rng.uniform(0.01, 1)), int(rng.integers(0, 256))) for _ in range(3))
    codes = torch.from_numpy(rng.integers(0, 256, (2, count)))
    terms = left.reals(codes[0]), right.reals(codes[1])
    factors = readable.fixed_point_sum(tuple(float(s.scale / out.scale) for s in (left, right)))
    bounds = (int(out.zero_point), 255)
    total = sum((c - int(q.zero_point)) * m for c, q, m in zip(codes, (left, right), factors[0], strict=True))
    wanted = ((total + (1 << factors[1] - 1)) >> factors[1]) + int(out.zero_point)
    inside = torch.empty(count, dtype=torch.bool)
    for mask in (None, inside):
        found = pointwise.add(terms, (left.grid, right.grid), factors, (*out.grid[:2], bounds), mask)
        assert torch.equal(found, out.reals(wanted.clamp(*bounds)))
    assert torch.equal(inside, wanted == wanted.clamp(*bounds))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_masked_gradients(layout: torch.memory_format) -> None:
    found = torch.rand(2, 3, 5, 7).contiguous(memory_format=layout) > 0.5
    gradient = torch.randn(2, 3, 5, 7)
    for laid_out in (gradient, gradient.contiguous(memory_format=torch.channels_last), gradient[:1].expand(2, 3, 5, 7)):
        passed = masked(laid_out, found)
        assert torch.equal(passed, laid_out * found) and passed.stride() == found.stride()
    assert torch.equal(masked(gradient.double(), found), gradient.double() * found)


def test_lookups_are_the_table_s_entries() -> None:
    q, table = quantizer(0.25, 9), torch.randn(256)
    values = torch.linspace(-9, 80, 2 * 3 * 5 * 7).view(2, 3, 5, 7).contiguous(memory_format=torch.channels_last)
    found = pointwise.lookup(values, table, q.grid)
    assert torch.equal(found, table[q.codes(values).long()]) and found.stride() == values.stride()


def test_what_kernels_cannot_take_is_left_to_torch() -> None:
    assert pointwise.usable(torch.zeros(2), torch.zeros(2, dtype=torch.int32))
    assert not pointwise.usable(torch.zeros(2, dtype=torch.float64))
    assert not pointwise.usable(torch.zeros(2, device="meta"))
