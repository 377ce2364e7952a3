"""The low-rank kernels equal the reference entry for entry, with every dot product this machine can run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from approx import tvm_adapter
from approx.kernels import low_rank, reference
from approx.kernels.factorisation import Factorisation
from approx.kernels.geometry import conv_geometry
from approx.kernels.low_rank_operands import Operands
from approx.kernels.low_rank_operands_script import OperandClass, operand_kernel
from approx.kernels.low_rank_script import DOTS, ProductsClass, dot_of, products_kernel
from approx.kernels.remembered import Remembered

LEVELS = ["x86-64-v4", "x86-64-v3", "x86-64-v2"]


def _runnable() -> list[str]:
    """Every instruction set of this machine, without its features and with each more of them."""
    host = tvm_adapter.host_isa()
    if host not in LEVELS:
        return [low_rank._isa()] if low_rank.dot_bits() else []
    found = []
    for level in LEVELS[LEVELS.index(host) :]:
        known = tvm_adapter._FEATURES.get(level, {})
        features = [name for flag, name in known.items() if flag in tvm_adapter._cpu_flags()]
        found += ["+".join((level, *features[:count])) for count in range(len(features) + 1)]
    return found


RUNNABLE = _runnable()


def _on(isa: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(low_rank, "_isa", lambda: isa)


@pytest.fixture(params=RUNNABLE)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    _on(request.param, monkeypatch)
    return request.param


def _factors(planes: int, n_w: int, scale: int = 5, term: int = 1000) -> Factorisation:
    """Random factors that reach the ends of their ranges; the table's first entry is not 0."""
    v, u = torch.randint(-128, 128, (planes, n_w)), torch.randint(0, 256, (planes, 256))
    v[:, -1], u[:, 3], u[:, 200] = -128, 255, 0
    f, g = torch.randint(-term, term + 1, (n_w,)), torch.randint(-term, term + 1, (256,))
    scales = torch.randint(-scale, scale + 1, (planes,))
    found = Factorisation(f.int(), g.int(), scales.int(), v.to(torch.int8), u.to(torch.uint8))
    f[0] += found.table()[0, 0] == 0
    return replace(found, f=f.int())


@dataclass
class Case:
    """Arguments of `table_conv2d`, with the table as factors."""

    codes: torch.Tensor
    index: torch.Tensor
    factors: Factorisation
    options: dict

    def reference(self) -> torch.Tensor:
        return reference.table_conv2d(self.codes, self.index, self.factors.table(), **self.options)

    def low_rank(self) -> torch.Tensor:
        o = self.options
        shape = conv_geometry(self.codes, self.index, o["stride"], o["padding"], o["dilation"], o["groups"])
        return low_rank.conv2d(self.codes, self.index, self.factors, shape, o["pad_code"])


@st.composite
def cases(draw: Callable) -> Case:
    torch.manual_seed(draw(st.integers(0, 2**31)))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4))
    height = max(1, dilation[0] * (kernel[0] - 1) + 1 - padding[0] - padding[2]) + draw(st.integers(0, 4))
    width = max(1, dilation[1] * (kernel[1] - 1) + 1 - padding[1] - padding[3]) + draw(st.integers(0, 4))
    channels, outputs = draw(st.integers(1, 19)), draw(st.sampled_from([1, 3, 15, 16, 17, 33, 48, 65, 80]))
    factors = _factors(draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 255, 256, 511])))
    if draw(st.booleans()):
        factors = replace(factors, g=torch.zeros_like(factors.g))
    return Case(
        torch.randint(0, 256, (draw(st.integers(1, 3)), height, width, channels * groups), dtype=torch.uint8),
        torch.randint(
            0,
            len(factors.f),
            (outputs * groups, *kernel, channels),
            dtype=draw(st.sampled_from([torch.int16, torch.int32])),
        ),
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
def test_every_dot_product_equals_the_reference(case: Case) -> None:
    expected = case.reference()
    for isa in RUNNABLE:
        with pytest.MonkeyPatch.context() as patch:
            _on(isa, patch)
            assert torch.equal(case.low_rank(), expected), isa


def _dense(positions: int, fan_in: int, outputs: int, factors: Factorisation) -> Case:
    return Case(
        torch.randint(0, 256, (positions, 1, 1, fan_in), dtype=torch.uint8),
        torch.randint(0, len(factors.f), (outputs, 1, 1, fan_in), dtype=torch.int16),
        factors,
        {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, "pad_code": 0},
    )


@pytest.mark.parametrize("positions", [1, 5, 6, 7, 8, 9, 13, 17])
def test_every_tail_of_positions(isa: str, positions: int) -> None:
    case = _dense(positions, 24, 20, _factors(2, 255))
    assert torch.equal(case.low_rank(), case.reference())


@pytest.mark.parametrize("fan_in", [1, 2, 3, 4, 5, 7, 63, 64, 65, 127, 128, 130])
def test_every_tail_of_k(isa: str, fan_in: int) -> None:
    case = _dense(40, fan_in, 20, _factors(2, 255))
    assert torch.equal(case.low_rank(), case.reference())


@pytest.mark.parametrize("outputs", [1, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 65])
def test_every_tail_of_o(isa: str, outputs: int) -> None:
    case = _dense(40, 12, outputs, _factors(2, 511))
    assert torch.equal(case.low_rank(), case.reference())


def test_extreme_products_do_not_saturate(isa: str) -> None:
    """255 * -128 and 255 * 127 only: neighbours reach 2 * 255 * 128, which 16-bit sums would cut to 32767."""
    v = torch.tensor([[-128, 127]], dtype=torch.int8)
    zero = torch.zeros(2, dtype=torch.int32)
    factors = Factorisation(zero, torch.zeros(256).int(), torch.ones(1).int(), v, torch.full((1, 256), 255).byte())
    case = _dense(9, 512, 18, factors)
    case.index[0], case.index[1] = 0, 1
    result = case.low_rank()
    assert result[0, 0, 0, 0] == -128 * 255 * 512 and result[0, 0, 0, 1] == 127 * 255 * 512
    assert torch.equal(result, case.reference())


def test_what_overflows_on_the_way_does_no_harm(isa: str) -> None:
    """Huge planes that cancel, and a huge f that g takes back: the sums fit int32, hardly anything before does."""
    factors = _factors(3, 255)
    v, u = factors.v.clone(), factors.u.clone()
    v[1], u[1] = v[0], u[0]
    scale = torch.tensor([2**30 - 1, -(2**30 - 1), 1], dtype=torch.int32)
    huge = 2**31 - 4000
    factors = replace(factors, f=factors.f + huge, g=factors.g - huge, scale=scale, v=v, u=u)
    assert factors.table().abs().max() < 2**16
    case = _dense(20, 33, 17, factors)
    case.options["padding"] = (1, 0, 2, 1)
    assert torch.equal(case.low_rank(), case.reference())


@pytest.mark.parametrize("pad_code", [0, 1, 200, 255])
def test_borders_hold_the_factor_of_the_padding_code(isa: str, pad_code: int) -> None:
    """Nine taps, of which a corner sees four codes and five times the padding code."""
    factors = _factors(1, 3)
    case = Case(
        torch.randint(0, 256, (1, 4, 5, 1), dtype=torch.uint8),
        torch.full((1, 3, 3, 1), 2, dtype=torch.int16),
        factors,
        {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1, "pad_code": pad_code},
    )
    row = factors.table()[2]
    corner = row[case.codes[0, :2, :2].long()].sum() + 5 * row[pad_code]
    assert case.low_rank()[0, 0, 0, 0] == corner
    assert torch.equal(case.low_rank(), case.reference())


@pytest.mark.parametrize("stride", [(2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("size", [(5, 1), (1, 5), (5, 5)])
def test_sums_of_g_with_steps(isa: str, stride: tuple[int, int], size: tuple[int, int]) -> None:
    case = Case(
        torch.randint(0, 256, (1, *size, 1), dtype=torch.uint8),
        torch.zeros(1, 1, 1, 1, dtype=torch.int16),
        _factors(1, 1),
        {"stride": stride, "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, "pad_code": 0},
    )
    assert torch.equal(case.low_rank(), case.reference())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_parts_and_threads_do_not_show(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    conv = Case(
        torch.randint(0, 256, (9, 7, 6, 10), dtype=torch.uint8),
        torch.randint(0, 255, (66, 3, 3, 5), dtype=torch.int16),
        _factors(3, 255),
        {"stride": (1, 2), "padding": (1, 0, 1, 2), "dilation": (1, 1), "groups": 2, "pad_code": 200},
    )
    before = torch.get_num_threads()
    monkeypatch.setattr(low_rank, "_PART_CODES", 700)
    monkeypatch.setattr("approx.kernels.layout._COPY_BYTES", 900)
    torch.set_num_threads(threads)
    try:
        for case in (_dense(1000, 40, 90, _factors(2, 256)), conv):
            assert torch.equal(case.low_rank(), case.reference())
    finally:
        torch.set_num_threads(before)


def test_codes_at_any_address(isa: str) -> None:
    for shift in (1, 3, 5):
        case = _dense(50, 70, 16, _factors(1, 255))
        buffer = torch.zeros(50 * 70 + 8, dtype=torch.uint8)
        buffer[shift : shift + 3500] = case.codes.flatten()
        case.codes = buffer[shift : shift + 3500].view(50, 1, 1, 70)
        assert torch.equal(case.low_rank(), case.reference())


def test_signed_codes_are_made_up_for() -> None:
    """A machine whose dot product wants signed codes gets u - 128 and another f, with the same table."""
    factors = _factors(3, 255)
    shape = conv_geometry(
        torch.empty(1, 1, 1, 4, dtype=torch.uint8), torch.empty(1, 1, 1, 4), (1, 1), (0,) * 4, (1, 1), 1
    )
    f, u = Operands(shape, "aarch64+dotprod", DOTS["dotprod"]).stored(factors)
    product = (factors.v.long() * factors.scale.long()[:, None]).T @ u.view(torch.int8).long()
    assert torch.equal(f.long()[:, None] + factors.g.long() + product, factors.table().long())


def test_prepare_finds_planes_and_gives_flat_tables_one() -> None:
    weight, code = torch.arange(-127, 128)[:, None], torch.arange(256)
    assert low_rank.prepare((weight * code).int()).planes == 1
    flat = low_rank.prepare((weight * 3 + code).int())
    assert flat.planes == 1 and torch.equal(flat.table(), (weight * 3 + code).int())
    case = _dense(30, 20, 17, flat)
    assert torch.equal(case.low_rank(), case.reference())
    assert low_rank.prepare(torch.randint(-999, 999, (255, 256), dtype=torch.int32)) is None


def test_a_remembered_function_sees_changes() -> None:
    calls: list[int] = []

    @Remembered
    def total(table: torch.Tensor) -> int | None:
        calls.append(1)
        return int(table.sum()) or None

    table = torch.zeros(3, 256, dtype=torch.int32)
    assert total(table) is None and total(table) is None and len(calls) == 1
    table[2, 5] = 7
    assert total(table) == 7 and total(table) == 7 and len(calls) == 2
    tables = [torch.full((1, 256), i, dtype=torch.int32) for i in range(200)]
    assert [total(each) for each in tables[1:]] == [256 * i for i in range(1, 200)]
    assert len(total._known) <= 64
    total.forget()
    assert total(tables[199]) == 256 * 199 and len(calls) == 202


@pytest.mark.parametrize(
    ("isa", "instruction"),
    [
        ("aarch64+dotprod", "sdot"),
        ("x86-64-v4+avx512vnni", "vpdpbusd"),
        ("x86-64-v3+avxvnni", "{vex}"),
        ("x86-64-v4", "vpmaddwd"),
        ("x86-64-v2", "pmaddwd"),
    ],
)
def test_kernels_compile_to_the_instruction_they_are_made_for(isa: str, instruction: str) -> None:
    dot = dot_of(isa)
    assert dot is not None
    kernel = ProductsClass(isa, dot.block[1])
    functions = {kernel.name: products_kernel(kernel)}
    for part in ("weights", "codes", "code_sums"):
        operand = OperandClass(isa, part, dot.lanes, dot.group)
        functions[operand.name] = operand_kernel(operand)
    tvm = tvm_adapter.require_tvm()
    library = tvm.compile(tvm.IRModule(functions), target=tvm_adapter.isa_target(isa))
    assembly = library.mod.inspect_source("asm")
    assert instruction in assembly
    assert "TVMBackendAllocWorkspace" not in assembly  # a kernel from the disk cache has no full TVM runtime


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(tvm_adapter, "_CPUINFO", tmp_path / "cpuinfo")
    tvm_adapter._cpu_flags.cache_clear()
    yield tmp_path / "cpuinfo"
    tvm_adapter._cpu_flags.cache_clear()


@pytest.mark.parametrize(
    ("level", "flags", "isa", "bits"),
    [
        ("x86-64-v4", "flags : avx2 avx512_vnni avx512vbmi avx_vnni", "x86-64-v4+avx512vnni+avx512vbmi", 8),
        ("x86-64-v4", "flags : avx512f avx512_vbmi2", "x86-64-v4", 16),  # vbmi2 is another feature
        ("x86-64-v3", "flags : avx2 avx_vnni avx512_vnni", "x86-64-v3+avxvnni", 8),
        ("x86-64-v3", None, "x86-64-v3", 16),
        ("x86-64-v2", "flags : avx2 avx_vnni", "x86-64-v2", 16),
        ("aarch64", "Features : fp asimd asimddp", "aarch64+dotprod", 8),
        ("aarch64", "Features : fp asimd", "aarch64", 0),
        ("riscv64", "isa : rv64imafdc", "riscv64", 0),
    ],
)
def test_features_follow_the_system(cpuinfo: Path, monkeypatch: pytest.MonkeyPatch, level, flags, isa, bits) -> None:
    monkeypatch.setattr(tvm_adapter, "host_isa", lambda: level)
    if flags is not None:
        cpuinfo.write_text(f"processor : 0\n{flags}\n")
    assert low_rank._isa() == isa
    assert low_rank.dot_bits() == bits


def test_a_machine_without_a_dot_product_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _on("riscv64", monkeypatch)
    with pytest.raises(ValueError, match="exact dot product, got 'riscv64'; use the row table"):
        _dense(1, 4, 1, _factors(1, 2)).low_rank()
    assert low_rank.prepare(torch.ones(2, 256, dtype=torch.int32)) is None
