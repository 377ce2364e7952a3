"""Generated C on this machine: the interpreter's integers, no undefined behaviour, no warnings."""

import itertools
import platform
import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from deploy.c_source import emit_c
from deploy.golden import random_golden
from deploy.interpreter import run
from deploy.program import (
    Add,
    AvgPool2d,
    Clamp,
    Conv2d,
    Flatten,
    IntegerWeights,
    Linear,
    MaxPool2d,
    Program,
    TensorSpec,
)
from deploy.testing import OPERAND_MODES, ProgramBuilder, every_operation_program, random_program
from deploy.zig import run_zig

native = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() != "x86_64", reason="runs x86-64 Linux programs"
)
COUNT = 5
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wno-sign-conversion", "-Werror"]
SANITISE = ["-O1", "-fsanitize=undefined", "-fsanitize-trap=undefined"]


def compile_and_run(programs, folder):
    """Builds all programs into one executable and compares each with its golden vectors, as text of the mismatches."""
    main, files = ["#include <stdint.h>", "#include <stdio.h>", "#include <stdlib.h>"], []
    calls = []
    for index, program in enumerate(programs):
        sources = emit_c(program, prefix=f"p{index}")
        (folder / f"n{index}").mkdir()
        for name, text in sources.items():
            (folder / f"n{index}" / name).write_text(text)
        files.append(f"n{index}/net.c")
        golden = random_golden(program, COUNT, seed=index)
        golden.inputs.tofile(folder / f"in{index}")
        golden.outputs.tofile(folder / f"out{index}")
        main.append(f'#include "n{index}/net.h"')
        sizes = f"P{index}_INPUT_SIZE, P{index}_OUTPUT_SIZE"
        calls.append(f'bad += check("in{index}", "out{index}", {index}, p{index}_run, {sizes});')
    main += [
        "static int check(const char *in, const char *out, int which, void (*run)(const uint8_t *, int16_t *),",
        "                 size_t in_size, size_t out_size) {",
        '    FILE *a = fopen(in, "rb"), *b = fopen(out, "rb");',
        "    uint8_t *x = malloc(in_size);",
        "    int16_t *y = malloc(2 * out_size + 2), *expected = malloc(2 * out_size);",
        "    int bad = 0;",
        "    while (fread(x, 1, in_size, a) == in_size && fread(expected, 2, out_size, b) == out_size) {",
        "        y[out_size] = 12345;",
        "        run(x, y);",
        "        for (size_t i = 0; i < out_size; i++)",
        '            if (y[i] != expected[i]) { bad++; printf("program %d: %d != %d\\n", which, y[i], expected[i]); }',
        '        if (y[out_size] != 12345) { bad++; printf("program %d: overrun\\n", which); }',
        "    }",
        "    return bad;",
        "}",
        f"int main(void) {{ int bad = 0; {' '.join(calls)} return bad != 0; }}",
    ]
    (folder / "main.c").write_text("\n".join(main))
    for file in files:
        run_zig(["cc", "-target", "x86_64-linux-musl", *STRICT, *SANITISE, "-c", file, "-o", f"{file}.o"], folder)
    objects = [f"{file}.o" for file in files]
    run_zig(["cc", "-target", "x86_64-linux-musl", "-static", "main.c", *objects, "-o", "all"], folder)
    result = subprocess.run([folder / "all"], cwd=folder, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout


def ending_in_int16(program):
    """The program with its output tensor made int16, whatever operation writes it."""
    spec = replace(program.tensors[program.output], dtype="int16")
    return replace(program, tensors={**program.tensors, program.output: spec})


def random_programs():
    """A few seeds that together reach every kernel."""
    programs = [random_program(np.random.default_rng(seed)) for seed in range(7)]
    return programs + [every_operation_program(np.random.default_rng(seed)) for seed in range(2)]


def odd_programs():
    """Outputs written by every kind of operation, inputs used late, outputs used early, nothing at all."""
    kinds = ("conv2d", "add", "max_pool", "avg_pool", "clamp", "pad", "slice", "concat", "flatten")
    for seed, kind in enumerate(kinds):
        builder = ProgramBuilder(np.random.default_rng(100 + seed))
        first = builder.input((6, 5, 3))
        second = builder.same_conv2d(first, 3)
        arguments = {"conv2d": (second, 5), "add": (second, first), "concat": (first, second)}.get(kind, (second,))
        yield ending_in_int16(builder.program(getattr(builder, kind)(*arguments)))
    builder = ProgramBuilder(np.random.default_rng(120))
    first = builder.input((7,))
    hidden = builder.clamp(builder.flatten(first))
    builder.linear(hidden, 4)
    yield builder.program(hidden)
    builder = ProgramBuilder(np.random.default_rng(121))
    first = builder.input((1, 1, 9))
    hidden = builder.linear(builder.flatten(first), 9)
    yield builder.program(builder.linear(builder.add(hidden, builder.flatten(first)), 3, last=True))
    yield Program({"x": TensorSpec((2, 3, 4), "uint8", 1.0, 7)}, (), "x", "x")


@native
def test_random_programs(tmp_path):
    status, output = compile_and_run(random_programs(), tmp_path)
    assert (status, output) == (0, "")


@native
@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 1200, 20))
def test_many_random_programs(tmp_path, start):
    programs = [random_program(np.random.default_rng(seed), length=9) for seed in range(start, start + 20)]
    status, output = compile_and_run(programs, tmp_path)
    assert (status, output) == (0, "")


@native
def test_odd_programs(tmp_path):
    status, output = compile_and_run(list(odd_programs()), tmp_path)
    assert (status, output) == (0, "")


@native
def test_the_harness_sees_a_wrong_integer(tmp_path, monkeypatch):
    program = random_program(np.random.default_rng(1))
    last = program.operations[-1]
    wrong = replace(last, weights=replace(last.weights, bias=last.weights.bias + 1_000_000))
    changed = replace(program, operations=(*program.operations[:-1], wrong))
    real = random_golden
    monkeypatch.setitem(globals(), "random_golden", lambda _, count, seed: real(changed, count, seed))
    status, output = compile_and_run([program], tmp_path)
    assert status == 1
    assert "program 0" in output


@native
def test_extreme_requantisation(tmp_path):
    """Largest accumulators, multipliers and shifts that the contract allows."""
    fan_in, outputs = 4, 8
    shifts = np.array([1, 62, 31, 32, 33, 1, 62, 40], np.int32)
    weights = IntegerWeights(
        np.tile(np.array([[127], [-127]], np.int16), (4, fan_in)),
        np.zeros(outputs, np.int32),
        np.tile(np.array([2**31 - 1 - 4 * 127 * 255, 4 * 127 * 255 - 2**31 + 1], np.int32), 4),
        np.array([2**31 - 1, 2**31 - 1, 2**30, 2**31 - 1, 2**31 - 1, 0, 2**30, 2**31 - 1], np.int32),
        shifts,
        None,
        127,
        "exact",
        "sign-magnitude",
    )
    specs = {"x": TensorSpec((fan_in,), "uint8", 1.0, 0), "y": TensorSpec((outputs,), "int16", 1.0, -32768)}
    program = Program(specs, (Linear("fc", ("x",), "y", weights, -32768, 32767),), "x", "y")
    status, output = compile_and_run([program], tmp_path)
    assert (status, output) == (0, "")


def test_refuses_an_accumulator_beyond_32_bits():
    fan_in = 2**31 // (255 * 255) + 1
    weights = IntegerWeights(
        np.full((1, fan_in), 255, np.int16),
        *(np.array([value], np.int32) for value in (0, 0, 2**30, 40)),
        None,
        255,
        "exact",
        "sign-magnitude-9",
    )
    specs = {"x": TensorSpec((fan_in,), "uint8", 1.0, 0), "y": TensorSpec((1,), "int16", 1.0, 0)}
    program = Program(specs, (Linear("wide.fc", ("x",), "y", weights, -100, 100),), "x", "y")
    with pytest.raises(ValueError, match=r"layer 'wide.fc'.*32 bits"):
        emit_c(program)


def test_only_stdint_and_no_calls_outside():
    source = emit_c(every_operation_program(np.random.default_rng(3)))["net.c"]
    includes = set(re.findall(r"#include\s*(\S+)", source))
    assert includes == {'"net.h"', "<arm_acle.h>"}  # the latter only under __ARM_FEATURE_DSP
    assert "float" not in source
    assert "double" not in source
    assert not re.search(r"\b(malloc|printf|memcpy)\b", source.replace("__builtin_memcpy", ""))


def test_sanitises_names():
    program = random_program(np.random.default_rng(5), length=1)
    ops = [replace(op, name=f"*/ évil\n#error {i} /* \\") for i, op in enumerate(program.operations)]
    nasty = replace(program, operations=tuple(ops), metadata={"*/": "\n#error"})
    for text in emit_c(nasty).values():
        assert text.isascii()
        assert not re.search(r"^\s*#error", text, re.MULTILINE)
        for comment in re.findall(r"/\*.*?\*/", text, re.DOTALL):
            assert "/*" not in comment[2:-2]
    with pytest.raises(ValueError, match="C identifier"):
        emit_c(program, prefix="2x")


def test_checks_the_program_first():
    program = random_program(np.random.default_rng(5), length=1)
    spec = replace(program.tensors[program.output], shape=(99,))
    with pytest.raises(ValueError, match="99"):
        emit_c(replace(program, tensors={**program.tensors, program.output: spec}))


def exact_table(offset, size):
    return ((np.arange(size) - offset)[:, None] * np.arange(256)).astype(np.int32)


def test_exact_tables_cost_nothing():
    """A table that holds exact products is emitted as no table at all."""
    program = random_program(np.random.default_rng(6), modes=("sign-magnitude", "affine"))
    plain, tabled = [], []
    for op in program.operations:
        if isinstance(op, Conv2d | Linear):
            table = exact_table(op.weights.offset, len(op.weights.table))
            tabled.append(replace(op, weights=replace(op.weights, table=table)))
            plain.append(replace(op, weights=replace(op.weights, table=None)))
        else:
            plain.append(op)
            tabled.append(op)
    assert emit_c(replace(program, operations=tuple(tabled))) == emit_c(replace(program, operations=tuple(plain)))


def test_every_mode_and_kernel_is_covered():
    """The programs above reach every kernel file."""
    programs = random_programs()
    text = "".join(emit_c(program)["net.c"] for program in itertools.chain(programs, odd_programs()))
    for name in ("exact_i8", "exact_i16", "depthwise_exact_i8", "folded_uint8", "rows_uint8", "depthwise_folded"):
        assert f"pj_{name}" in text, name
    for name in ("add", "clamp", "pad", "slice", "concat", "flatten", "widen", "max_pool", "avg_pool"):
        assert f"pj_{name}(" in text, name
    kinds = {type(op) for program in programs for op in program.operations}
    assert kinds >= {Add, AvgPool2d, Clamp, Flatten, MaxPool2d}
    modes = {op.weights.operands for p in programs for op in p.operations if isinstance(op, Conv2d)}
    assert modes == set(OPERAND_MODES)


def test_program_of_the_interpreter_is_not_changed():
    program = random_program(np.random.default_rng(8))
    golden = random_golden(program, 2)
    emit_c(program)
    np.testing.assert_array_equal(run(program, golden.inputs), golden.outputs)
