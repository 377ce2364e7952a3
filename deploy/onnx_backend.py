"""ONNX back end: the integer program as a file of standard operators, exact in every integer.

The file takes uint8 codes [N, H, W, C] (or [N, F]) and gives int16 codes [N, ...]; scales and zero
points of both are in its metadata, under "input" and "output". No custom operator and no floating point
is used, so any runtime that follows the standard gives the integers of the golden model.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.check import check_program
from deploy.onnx_export.graph import Graph
from deploy.onnx_export.operations import OPERATORS
from deploy.program import FORMAT_VERSION, Conv2d, Linear, Program, TensorSpec

OPSET = 17
IR_VERSION = 8
RUN_BATCH = 4  # table look-ups of one batch stay within 4 * CHUNK_BYTES per node


def build_onnx(program: Program) -> Any:
    """Translates a program.

    Returns:
        A checked `onnx.ModelProto`, opset 17, with the program's own tensor names.

    Raises:
        ValueError: the program is invalid (`check_program`), an operation has no translation, or a layer
            is too large for table look-ups (`deploy.onnx_export.layers.LIMIT_BYTES`) or for 32-bit sums.
    """
    import onnx
    from onnx import helper

    check_program(program)
    graph = Graph()
    names = {program.input: _channel_first(graph, program.input, program.tensors[program.input])}
    for operation in program.operations:
        convert = OPERATORS.get(type(operation))
        if convert is None:
            known = ", ".join(kind.__name__ for kind in OPERATORS)
            raise ValueError(f"operation {operation.name!r} is a {type(operation).__name__}, ONNX export knows {known}")
        graph.scope = operation.name
        specs = [program.tensors[name] for name in operation.inputs]
        inputs = [names[name] for name in operation.inputs]
        names[operation.output] = convert(graph, operation, inputs, specs, program.tensors[operation.output])
    graph.rename(_channel_last(graph, names[program.output], program.tensors[program.output]), "output_codes")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            program.metadata.get("model") or "program",
            [_value("input_codes", program.tensors[program.input].shape, "uint8")],
            [_value("output_codes", program.tensors[program.output].shape, "int16")],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="picojoule",
    )
    helper.set_model_props(model, _metadata(program))
    onnx.checker.check_model(model, full_check=True)
    return model


def export_onnx(program: Program, path: str | Path) -> Path:
    """Writes a program as an ONNX file; the file appears only once it is complete, checked and loadable.

    Args:
        program: the program.
        path: the file to write; its folder must exist.

    Returns:
        The path.

    Raises:
        ValueError: see `build_onnx`; or the model is beyond the 2 GiB of an ONNX file.
    """
    import onnx

    path = Path(path)
    model = build_onnx(program)
    if model.ByteSize() >= 1 << 31:
        raise ValueError(
            f"the ONNX model has {model.ByteSize()} bytes, expected below 2 GiB; use the TVM or C back end"
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(model.SerializeToString())
        onnx.checker.check_model(str(temporary), full_check=True)
        _session(temporary, 1)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def run_onnx(path: str | Path, codes: npt.NDArray[np.uint8], *, threads: int = 1) -> npt.NDArray[np.int16]:
    """Runs an exported file in onnxruntime on the CPU.

    Args:
        path: a file of `export_onnx`.
        codes: uint8 [N, H, W, C] or [N, F].
        threads: threads inside one operator.

    Returns:
        int16 [N, F] output codes.

    Raises:
        ValueError: the codes do not have the file's input shape or are not uint8.
    """
    session = _session(Path(path), threads)
    expected = session.get_inputs()[0].shape
    if codes.dtype != np.uint8 or list(codes.shape[1:]) != expected[1:] or codes.ndim != len(expected):
        raise ValueError(f"{path} takes uint8 codes of shape {expected}, got {codes.dtype} {list(codes.shape)}")
    width = session.get_outputs()[0].shape[1:]
    outputs = [np.zeros((0, *width), np.int16)]
    for start in range(0, len(codes), RUN_BATCH):
        outputs += session.run(None, {"input_codes": np.ascontiguousarray(codes[start : start + RUN_BATCH])})
    return np.concatenate(outputs)


def _session(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _value(name: str, shape: tuple[int, ...], dtype: str) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, int(getattr(TensorProto, dtype.upper())), ["N", *shape])


def _channel_first(graph: Graph, name: str, spec: TensorSpec) -> str:
    graph.scope = name
    source = "input_codes"
    return graph.node("Transpose", source, perm=[0, 3, 1, 2]) if len(spec.shape) == 3 else source


def _channel_last(graph: Graph, name: str, spec: TensorSpec) -> str:
    name = name if spec.dtype == "int16" else graph.cast(name, "int16")
    return graph.node("Transpose", name, perm=[0, 2, 3, 1]) if len(spec.shape) == 3 else name


def _metadata(program: Program) -> dict[str, str]:
    ends = {"input": program.tensors[program.input], "output": program.tensors[program.output]}
    described = {
        end: json.dumps({"shape": spec.shape, "dtype": spec.dtype, "scale": spec.scale, "zero_point": spec.zero_point})
        for end, spec in ends.items()
    }
    circuits = {
        operation.name: operation.weights.circuit
        for operation in program.operations
        if isinstance(operation, Conv2d | Linear)
    }
    return {
        **{f"program.{key}": value for key, value in program.metadata.items()},
        **described,
        "circuits": json.dumps(circuits),
        "format_version": str(FORMAT_VERSION),
    }
