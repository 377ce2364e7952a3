"""Programs compiled by TVM give the golden model's integers, on every kernel path, and export for other machines."""

import dataclasses
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from approx import tvm_adapter
from deploy import tvm_backend
from deploy.interpreter import run
from deploy.program import Conv2d, IntegerWeights, Linear, Program, TensorSpec
from deploy.testing import (
    EXACT,
    OPERAND_MODES,
    every_operation_program,
    random_codes,
    random_layer_table,
    random_program,
)
from deploy.tvm_backend import compile_tvm
from deploy.tvm_kernels.dot_product import dot_product_weights
from deploy.tvm_kernels.lookup import lookup_table
from deploy.tvm_kernels.module import relax_module
from deploy.tvm_kernels.targets import TARGETS, tvm_target


def assert_equal_integers(program: Program, *, seed: int = 0, count: int = 3, **options: Any) -> None:
    codes = random_codes(np.random.default_rng(seed), program, count)
    outputs = compile_tvm(program, **options).run(codes)
    assert outputs.dtype == np.int16
    np.testing.assert_array_equal(outputs, run(program, codes))


def convolution(mode: str, channels: int, outputs: int, **changes: Any) -> Program:
    """One convolution [9, 8, channels] -> [.., outputs] whose codes use the whole range."""
    rng = np.random.default_rng(channels * 1000 + outputs)
    table, offset = (None, 127) if mode == EXACT else random_layer_table(rng, mode)
    low, high = (0, 255) if mode == "affine" else (-255, 255) if mode == "sign-magnitude-9" else (-127, 127)
    values = rng.integers(low, high, (outputs, 3, 3, channels), endpoint=True).astype(np.int16)
    values.flat[:2] = low, high
    zero = rng.integers(90, 160, outputs) if mode == "affine" else np.zeros(outputs)
    mean = (values.reshape(outputs, -1).sum(axis=1) - zero * channels * 9) * 128
    shift = 30 + int(np.ceil(np.log2(high * np.sqrt(channels * 9) * 2)))
    weights = IntegerWeights(
        values,
        zero.astype(np.int32),
        (rng.integers(-2000, 2000, outputs) - mean).astype(np.int32),
        rng.integers(2**30, 2**31, outputs).astype(np.int32),
        np.full(outputs, shift, np.int32),
        table,
        offset,
        mode,
        "sign-magnitude" if mode == EXACT else mode,
    )
    fields = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1, **changes}
    layer = Conv2d("conv", ("x",), "y", weights, low=3, high=250, **fields)
    top, left, bottom, right = layer.padding
    size = [
        (extent - 2 * layer.dilation[axis] - 1) // layer.stride[axis] + 1
        for axis, extent in enumerate((9 + top + bottom, 8 + left + right))
    ]
    tensors = {
        "x": TensorSpec((9, 8, channels), "uint8", 0.1, 77),
        "y": TensorSpec((size[0], size[1], outputs), "uint8", 0.1, 120),
    }
    return Program(tensors, (layer,), "x", "y")


def only_layer(program: Program) -> Conv2d:
    layer = program.operations[0]
    assert isinstance(layer, Conv2d)
    return layer


@pytest.mark.parametrize("seed,batch", [(0, 1), (1, 2)])
def test_every_operation_gives_the_interpreters_integers(seed: int, batch: int) -> None:
    program = every_operation_program(np.random.default_rng(seed))
    assert_equal_integers(program, seed=seed, batch=batch)


@pytest.mark.parametrize("seed", range(8))
def test_random_programs_give_the_interpreters_integers(seed: int) -> None:
    assert_equal_integers(random_program(np.random.default_rng(2000 + seed)), seed=seed, batch=1 + seed % 3)


@pytest.mark.parametrize("mode", [EXACT, *OPERAND_MODES])
@pytest.mark.parametrize(
    "channels,outputs,changes",
    [
        (3, 16, {}),
        (6, 37, {"stride": (2, 1), "padding": (0, 2, 1, 1), "dilation": (1, 2)}),
        (16, 64, {"padding": (0, 0, 0, 0)}),
    ],
)
def test_wide_layers_of_every_operand_mode(mode: str, channels: int, outputs: int, changes: dict[str, Any]) -> None:
    program = convolution(mode, channels, outputs, **changes)
    assert_equal_integers(program)
    assert len(np.unique(run(program, random_codes(np.random.default_rng(0), program, 3)))) > 60


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"])
def test_the_same_integers_for_every_instruction_set_this_machine_runs(target: str) -> None:
    if not tvm_target(target).runs_here:
        pytest.skip(f"this machine cannot run {target}")
    assert_equal_integers(convolution("sign-magnitude", 6, 24), target=target)
    assert_equal_integers(convolution(EXACT, 6, 24), target=target)


def test_the_default_schedule_gives_the_same_integers() -> None:
    assert_equal_integers(random_program(np.random.default_rng(7)), tuned=False)


def test_samples_that_do_not_fill_a_batch() -> None:
    program = random_program(np.random.default_rng(3), length=2)
    codes = random_codes(np.random.default_rng(0), program, 7)
    module = compile_tvm(program, batch=4)
    np.testing.assert_array_equal(module.run(codes), run(program, codes))
    np.testing.assert_array_equal(module.run(codes[:1]), run(program, codes[:1]))
    assert module.run(codes[:0]).shape == (0, *program.tensors[program.output].shape)


def test_layers_of_one_shape_share_a_kernel() -> None:
    first = only_layer(convolution("sign-magnitude", 16, 16))
    second = dataclasses.replace(first, name="again", inputs=("y",), output="z", low=9)
    spec = TensorSpec((9, 8, 16), "uint8", 0.1, 5)
    program = Program({"x": spec, "y": spec, "z": spec}, (first, second), "x", "z")
    functions = relax_module(program, tvm_target("host"), 1, True).functions
    assert len(functions) == 2  # main and one kernel
    assert_equal_integers(program)


def test_largest_shifts_and_saturated_sums() -> None:
    values = np.full((4, 600), 127, np.int16)
    values[1::2] = -127
    weights = IntegerWeights(
        values,
        np.zeros(4, np.int32),
        np.array([2**30, -(2**30), 5, -5], np.int32),
        np.full(4, 2**31 - 1, np.int32),
        np.array([62, 62, 47, 31], np.int32),
        None,
        127,
        "exact",
        "sign-magnitude",
    )
    tensors = {"x": TensorSpec((600,), "uint8", 0.1, 0), "y": TensorSpec((4,), "int16", 0.1, -3)}
    layer = Linear("fc", ("x",), "y", weights, -32768, 32767)
    assert_equal_integers(Program(tensors, (layer,), "x", "y"))


@pytest.mark.parametrize(
    "mode,entries,base",
    [("sign-magnitude", 128, 0), ("sign-magnitude-9", 256, 32768), ("affine", 256, 32768), ("signed", 256, 0)],
)
def test_register_look_ups_hold_the_table(mode: str, entries: int, base: int) -> None:
    layer = only_layer(convolution(mode, 4, 16))
    weights, codes = layer.weights, np.arange(256)
    assert weights.table is not None
    circuit = ((np.arange(len(weights.table)) - weights.offset)[:, None] * codes).astype(np.int32)
    if mode == "signed":
        circuit[3] += 7  # no longer odd in the weight, as a signed circuit is free to be
    prepared = lookup_table(dataclasses.replace(layer, weights=dataclasses.replace(weights, table=circuit)))
    assert prepared is not None
    assert prepared.rows.shape == (256, entries)
    assert prepared.base == base
    found = (prepared.rows[:, prepared.index.ravel()].astype(np.int64) + base) * prepared.sign.ravel()
    np.testing.assert_array_equal(found.T, circuit[weights.values.ravel() + weights.offset])


def test_what_does_not_suit_registers_takes_the_general_kernel() -> None:
    layer = only_layer(convolution("signed", 4, 16))
    weights = layer.weights
    assert weights.table is not None
    wide = dataclasses.replace(weights, table=weights.table * 3)
    assert lookup_table(dataclasses.replace(layer, weights=wide)) is None
    assert lookup_table(dataclasses.replace(layer, groups=2)) is None
    assert lookup_table(only_layer(convolution("signed", 4, 7))) is None
    assert dot_product_weights(only_layer(convolution("signed", 4, 16))) is None
    exact = only_layer(convolution(EXACT, 4, 16))
    assert dot_product_weights(exact) is not None
    nine_bits = dataclasses.replace(exact.weights, values=exact.weights.values * 2)
    assert dot_product_weights(dataclasses.replace(exact, weights=nine_bits)) is None


def test_tables_wider_than_16_bits() -> None:
    program = convolution("sign-magnitude", 5, 12)
    layer = only_layer(program)
    assert layer.weights.table is not None
    weights = dataclasses.replace(layer.weights, table=layer.weights.table * 5)
    assert_equal_integers(dataclasses.replace(program, operations=(dataclasses.replace(layer, weights=weights),)))


def test_unknown_targets_name_the_known_ones() -> None:
    known = "aarch64, host, x86-64-v2, x86-64-v3, x86-64-v4"
    with pytest.raises(ValueError, match=f"unknown TVM target: expected one of {known}, got 'riscv'"):
        compile_tvm(random_program(np.random.default_rng(0)), "riscv")
    assert sorted(TARGETS) == known.split(", ")


def test_wrong_batches_and_codes_are_refused() -> None:
    program = random_program(np.random.default_rng(0), length=1)
    with pytest.raises(ValueError, match="batch of at least 1, got 0"):
        compile_tvm(program, batch=0)
    module = compile_tvm(program)
    shape = program.tensors[program.input].shape
    with pytest.raises(ValueError, match="expected uint8 codes"):
        module.run(np.zeros((1, *shape[:-1], shape[-1] + 1), np.uint8))
    with pytest.raises(ValueError, match="got int32"):
        module.run(np.zeros((1, *shape), np.int32))  # type: ignore[arg-type]


def test_invalid_programs_and_too_large_sums_are_refused() -> None:
    program = convolution(EXACT, 4, 16)
    layer = only_layer(program)
    broken = dataclasses.replace(layer, stride=(2, 2))
    with pytest.raises(ValueError, match="'conv' writes shape"):
        compile_tvm(dataclasses.replace(program, operations=(broken,)))
    bias = np.full(16, 2**31 - 1, np.int32)
    heavy = dataclasses.replace(layer, weights=dataclasses.replace(layer.weights, bias=bias))
    with pytest.raises(ValueError, match="layer 'conv': an accumulator may reach"):
        compile_tvm(dataclasses.replace(program, operations=(heavy,)))


needs_linker = pytest.mark.skipif(not tvm_adapter.can_link(), reason="no linker: Linux with the ziglang wheel")


@needs_linker
def test_exported_library_runs_by_itself(tmp_path: Path) -> None:
    program = convolution("sign-magnitude", 6, 24)
    codes = random_codes(np.random.default_rng(0), program, 1)
    path = compile_tvm(program).export(tmp_path / "net.so")
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.so"]
    relax, runtime = tvm_adapter.tvm_submodule("relax"), tvm_adapter.tvm_submodule("runtime")
    machine = relax.VirtualMachine(runtime.load_module(str(path)), runtime.cpu())
    outputs = machine["main"](runtime.tensor(codes)).numpy()
    np.testing.assert_array_equal(outputs, run(program, codes))


@needs_linker
def test_a_library_for_another_machine(tmp_path: Path) -> None:
    if tvm_adapter.host_isa() == "aarch64":
        pytest.skip("aarch64 is this machine")
    program = random_program(np.random.default_rng(4), length=3)
    module = compile_tvm(program, "aarch64")
    header = module.export(tmp_path / "net.so").read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    assert struct.unpack("<H", header[18:20]) == (183,)  # EM_AARCH64
    with pytest.raises(ValueError, match=r"compiled for 'aarch64', which this machine cannot run; export it"):
        module.run(random_codes(np.random.default_rng(0), program, 1))


def test_a_failed_export_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = compile_tvm(random_program(np.random.default_rng(0), length=1))
    path = tmp_path / "net.so"
    path.write_bytes(b"old")

    def broken(_: Any, target: Path) -> None:
        target.write_bytes(b"half")
        raise RuntimeError("linking failed")

    monkeypatch.setattr(tvm_backend, "export_shared", broken)
    with pytest.raises(RuntimeError, match="linking failed"):
        module.export(path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.so"]


def test_latency_is_measured() -> None:
    times = compile_tvm(random_program(np.random.default_rng(0), length=1)).latency_ms(repeats=3, calls=2)
    assert len(times) == 3
    assert min(times) > 0


def test_importing_the_back_end_imports_neither_tvm_nor_onnx() -> None:
    code = (
        "import sys, deploy.tvm_backend, deploy.onnx_backend;"
        "sys.exit(bool({'tvm', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
