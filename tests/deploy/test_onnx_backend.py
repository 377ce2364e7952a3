"""The exported ONNX file gives the golden model's integers in onnxruntime and says what it cannot do."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from deploy import onnx_backend
from deploy.accumulator import accumulator_bound
from deploy.interpreter import run
from deploy.onnx_backend import build_onnx, export_onnx, run_onnx
from deploy.onnx_export import layers
from deploy.onnx_export.graph import Graph
from deploy.onnx_export.requantise import floor_shift
from deploy.program import Conv2d, IntegerWeights, Linear, Operation, Program, TensorSpec
from deploy.testing import EXACT, OPERAND_MODES, every_operation_program, random_codes, random_program


def assert_equal_integers(program: Program, path: Path, seed: int = 0, count: int = 6) -> None:
    codes = random_codes(np.random.default_rng(seed), program, count)
    export_onnx(program, path)
    outputs = run_onnx(path, codes)
    assert outputs.dtype == np.int16
    np.testing.assert_array_equal(outputs, run(program, codes))


@pytest.mark.parametrize("seed", range(3))
def test_every_operation_gives_the_interpreters_integers(seed: int, tmp_path: Path) -> None:
    assert_equal_integers(every_operation_program(np.random.default_rng(seed)), tmp_path / "a.onnx", seed)


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_give_the_interpreters_integers(seed: int, tmp_path: Path) -> None:
    assert_equal_integers(random_program(np.random.default_rng(1000 + seed)), tmp_path / "a.onnx", seed)


@pytest.mark.parametrize("mode", [EXACT, *OPERAND_MODES])
def test_every_operand_mode_alone(mode: str, tmp_path: Path) -> None:
    program = random_program(np.random.default_rng(5), length=5, modes=[mode])
    assert_equal_integers(program, tmp_path / "a.onnx")


def test_small_chunks_and_single_samples_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = every_operation_program(np.random.default_rng(3))
    monkeypatch.setattr(layers, "CHUNK_BYTES", 1 << 12)
    nodes = len(build_onnx(program).graph.node)
    assert_equal_integers(program, tmp_path / "a.onnx", count=1)
    monkeypatch.setattr(layers, "CHUNK_BYTES", 1 << 40)
    assert len(build_onnx(program).graph.node) < nodes


def test_only_standard_operators_and_no_floating_point(tmp_path: Path) -> None:
    model = build_onnx(every_operation_program(np.random.default_rng(0)))
    assert [entry.domain for entry in model.opset_import] == [""]
    assert {node.domain for node in model.graph.node} == {""}
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    types = {value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    types |= {constant.data_type for constant in model.graph.initializer}
    floating = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}
    assert not types & floating


def test_metadata_describes_both_ends(tmp_path: Path) -> None:
    program = random_program(np.random.default_rng(2))
    export_onnx(program, tmp_path / "a.onnx")
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    source, result = program.tensors[program.input], program.tensors[program.output]
    assert json.loads(metadata["input"]) == {
        "shape": list(source.shape),
        "dtype": "uint8",
        "scale": source.scale,
        "zero_point": source.zero_point,
    }
    assert json.loads(metadata["output"])["scale"] == result.scale
    assert metadata["program.model"] == "random"
    assert set(json.loads(metadata["circuits"])) == {
        operation.name for operation in program.operations if isinstance(operation, Conv2d | Linear)
    }


def test_equal_tables_are_stored_once() -> None:
    program = every_operation_program(np.random.default_rng(0))
    tables = {
        operation.weights.table.tobytes()
        for operation in program.operations
        if isinstance(operation, Conv2d | Linear) and operation.weights.table is not None
    }
    stored = [c for c in build_onnx(program).graph.initializer if len(c.dims) == 1 and c.dims[0] >= 255 * 256]
    assert len(stored) == len(tables)


def _run_graph(graph: Graph, result: str, feeds: dict[str, np.ndarray]) -> np.ndarray:
    import onnxruntime

    helper = onnx.helper
    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in feeds.items()}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "test",
            [helper.make_tensor_value_info(name, kinds[name], array.shape) for name, array in feeds.items()],
            [helper.make_tensor_value_info(result, onnx.TensorProto.INT64, None)],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", onnx_backend.OPSET)],
        ir_version=onnx_backend.IR_VERSION,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


@pytest.mark.parametrize("reach", [1 << 20, 1 << 30, (1 << 31) - 1])
def test_floor_shift_is_exact_up_to_the_largest_products_and_shifts(reach: int) -> None:
    rng = np.random.default_rng(0)
    shift = np.arange(1, 63)
    multiplier = rng.integers(2**30, 2**31, 62)
    multiplier[::7] = 2**31 - 1
    sums = rng.integers(-reach, reach, (200, 62), endpoint=True)
    sums[0], sums[1], sums[2], sums[3] = -reach, reach, -1, 0
    products = sums * multiplier
    graph = Graph()
    result = floor_shift(graph, "x", shift.reshape(1, -1), np.abs(multiplier * reach).reshape(1, -1))
    expected = [[(int(p) + (1 << (int(s) - 1))) >> int(s) for p, s in zip(row, shift)] for row in products]  # noqa: B905
    np.testing.assert_array_equal(_run_graph(graph, result, {"x": products}), expected)


def _layer(values: Any, **changes: Any) -> IntegerWeights:
    values = np.asarray(values, np.int16)
    count = len(values)
    weights = IntegerWeights(
        values,
        np.zeros(count, np.int32),
        np.zeros(count, np.int32),
        np.full(count, 2**30, np.int32),
        np.full(count, 40, np.int32),
        None,
        255,
        "exact",
        "sign-magnitude-9",
    )
    return dataclasses.replace(weights, **changes)


def _single(operation: Operation, source: tuple[int, ...], result: tuple[int, ...]) -> Program:
    tensors = {"x": TensorSpec(source, "uint8", 0.1, 3), "y": TensorSpec(result, "int16", 0.1, 0)}
    return Program(tensors, (operation,), "x", "y")


def _linear(weights: IntegerWeights) -> Program:
    layer = Linear("fc", ("x",), "y", weights, -32768, 32767)
    return _single(layer, (weights.values.shape[1],), (len(weights.values),))


@pytest.mark.parametrize("low,high", [(0, 255), (-128, 127), (-255, 255), (-255, 0), (-1, 128)])
def test_exact_weights_of_any_range(low: int, high: int, tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(low, high, (5, 64), endpoint=True)
    values[0], values[1] = low, high
    shift = np.full(5, 39, np.int32)
    assert_equal_integers(_linear(_layer(values, shift=shift)), tmp_path / "a.onnx")


def test_saturating_dot_products_would_be_caught(tmp_path: Path) -> None:
    """Two products of 255 * 127 exceed 16 bits: kernels with 16-bit intermediate sums fail here."""
    assert_equal_integers(_linear(_layer(np.full((16, 64), 127))), tmp_path / "a.onnx")


def test_a_sum_beyond_32_bits_is_refused() -> None:
    weights = _layer(np.full((2, 40000), 255))
    with pytest.raises(ValueError, match=r"layer 'fc': an accumulator may reach 2601000000, expected below"):
        build_onnx(_linear(weights))
    bias = np.array([-(2**31), 0], np.int32)
    with pytest.raises(ValueError, match="2147483648"):
        accumulator_bound(_layer(np.zeros((2, 3)), bias=bias), "fc")


def test_accumulator_bound_is_reached() -> None:
    weights = _layer([[100, 3], [-7, -20]], bias=np.array([5, -9], np.int32))
    assert accumulator_bound(weights, "a").tolist() == [103 * 255 + 5, 27 * 255 + 9]
    table = np.zeros((511, 256), np.int32)
    table[255 + 100, 7], table[255 + 3, 0] = -11, 4
    bounded = accumulator_bound(dataclasses.replace(weights, table=table), "a")
    assert bounded.tolist() == [11 + 4 + 5, 9]


def test_weights_beyond_nine_bits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"layer 'fc': expected weights minus zero point in -255..255, got"):
        build_onnx(_linear(_layer([[256, 0]])))


def test_too_large_look_ups_are_refused_with_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.zeros((511, 256), np.int32)
    program = _linear(_layer(np.zeros((2, 100)), table=table))
    monkeypatch.setattr(layers, "LIMIT_BYTES", 799)
    with pytest.raises(ValueError, match=r"'fc': table look-ups of one output channel need 800 bytes"):
        build_onnx(program)


def test_a_failed_export_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"old")
    monkeypatch.setattr(onnx_backend, "_session", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_onnx(random_program(np.random.default_rng(0)), path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.onnx"]


def test_wrong_codes_are_refused(tmp_path: Path) -> None:
    program = _linear(_layer([[1, 2, 3]]))
    path = export_onnx(program, tmp_path / "a.onnx")
    with pytest.raises(ValueError, match=r"takes uint8 codes of shape \['N', 3\], got uint8 \[2, 4\]"):
        run_onnx(path, np.zeros((2, 4), np.uint8))
    with pytest.raises(ValueError, match="got int16"):
        run_onnx(path, np.zeros((2, 3), np.int16))  # type: ignore[arg-type]
    assert run_onnx(path, np.zeros((0, 3), np.uint8)).shape == (0, 1)


def test_unknown_operations_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    program = _linear(_layer([[1, 2, 3]]))
    monkeypatch.delitem(onnx_backend.OPERATORS, Linear)
    with pytest.raises(ValueError, match="operation 'fc' is a Linear, ONNX export knows Conv2d, Add"):
        build_onnx(program)


def test_a_picture_may_be_the_output(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = _layer(rng.integers(-9, 9, (4, 3, 3, 2)), shift=np.full(4, 33, np.int32))
    conv = Conv2d("conv", ("x",), "y", weights, (2, 1), (1, 0, 2, 1), (1, 1), 1, -32768, 32767)
    program = _single(conv, (7, 6, 2), (4, 5, 4))
    codes = random_codes(rng, program, 5)
    path = export_onnx(program, tmp_path / "a.onnx")
    np.testing.assert_array_equal(run_onnx(path, codes).reshape(5, -1), run(program, codes).reshape(5, -1))
