"""Programs on disk: one safetensors file, arrays as tensors and everything else as JSON in its metadata.

Equal product tables are stored once. Nothing is unpickled; what is read is checked before it is returned.
"""

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from deploy.check import check_program
from deploy.program import FORMAT_VERSION, OPERATIONS, IntegerWeights, Operation, Program, TensorSpec

_ARRAYS = ("values", "weight_zero", "bias", "multiplier", "shift")
_KIND = "picojoule program"
_BASE_FIELDS = {"name", "inputs", "output"}


def save_program(program: Program, path: str | os.PathLike[str]) -> None:
    """Writes a program, replacing the file at once or not at all.

    Args:
        program: what to write.
        path: the file, by custom ending in `.safetensors`.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    operations = [_operation_to_json(op, index, arrays) for index, op in enumerate(program.operations)]
    document = {
        "kind": _KIND,
        "version": FORMAT_VERSION,
        "tensors": {name: dataclasses.asdict(spec) for name, spec in program.tensors.items()},
        "operations": operations,
        "input": program.input,
        "output": program.output,
        "metadata": dict(program.metadata),
    }
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        draft = Path(folder) / "program"
        save_file(arrays, draft, metadata={"program": json.dumps(document)})
        os.replace(draft, target)


def load_program(path: str | os.PathLike[str]) -> Program:
    """Reads a program written by `save_program`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated, of another kind or version, or holds an invalid program.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no program file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise ValueError(f"{path} is no complete program file ({error}); export the program again") from error
    try:
        document = json.loads(metadata.get("program", "null"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: its description is no JSON ({error}); export the program again") from error
    if not isinstance(document, dict) or document.get("kind") != _KIND:
        raise ValueError(f"{path} holds no picojoule program; give the file that the export wrote")
    if document.get("version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {document.get('version')}, this picojoule reads {FORMAT_VERSION}; "
            "export the program again with this version"
        )
    try:
        program = _program_from_json(document, arrays)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: its description lacks or misnames {error}; export the program again") from error
    check_program(program)
    return program


def _operation_to_json(op: Operation, index: int, arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": type(op).__name__}
    for field in dataclasses.fields(op):
        value = getattr(op, field.name)
        if isinstance(value, IntegerWeights):
            value = _weights_to_json(value, index, arrays)
        entry[field.name] = value
    return entry


def _weights_to_json(weights: IntegerWeights, index: int, arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    for name in _ARRAYS:
        arrays[f"{index}.{name}"] = np.ascontiguousarray(getattr(weights, name))
    table = None
    if weights.table is not None:
        table = f"table.{hashlib.sha256(weights.table.tobytes()).hexdigest()[:32]}"
        arrays[table] = np.ascontiguousarray(weights.table)
    return {
        "arrays": index,
        "table": table,
        "offset": weights.offset,
        "circuit": weights.circuit,
        "operands": str(weights.operands),
    }


def _program_from_json(document: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Program:
    tensors = {
        name: TensorSpec(_integers(spec["shape"]), str(spec["dtype"]), float(spec["scale"]), int(spec["zero_point"]))
        for name, spec in document["tensors"].items()
    }
    return Program(
        tensors,
        tuple(_operation_from_json(entry, arrays) for entry in document["operations"]),
        str(document["input"]),
        str(document["output"]),
        {str(key): str(value) for key, value in document["metadata"].items()},
    )


def _operation_from_json(entry: dict[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Operation:
    kind = OPERATIONS.get(entry["kind"])
    if kind is None:
        raise ValueError(f"unknown operation {entry['kind']!r}, expected one of {', '.join(OPERATIONS)}")
    fields: dict[str, Any] = {
        "name": str(entry["name"]),
        "inputs": tuple(str(name) for name in entry["inputs"]),
        "output": str(entry["output"]),
    }
    for field in dataclasses.fields(kind):
        if field.name == "weights":
            fields["weights"] = _weights_from_json(entry["weights"], arrays)
        elif field.name not in _BASE_FIELDS:
            fields[field.name] = _integers(entry[field.name])
    return kind(**fields)


def _weights_from_json(entry: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> IntegerWeights:
    parts = {name: arrays[f"{entry['arrays']}.{name}"] for name in _ARRAYS}
    return IntegerWeights(
        **parts,
        table=None if entry["table"] is None else arrays[entry["table"]],
        offset=_integers(entry["offset"]),
        circuit=str(entry["circuit"]),
        operands=str(entry["operands"]),
    )


def _integers(value: Any) -> Any:
    """A JSON integer, or lists of them as tuples."""
    if isinstance(value, list):
        return tuple(_integers(item) for item in value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"an integer, got {value!r}")
    return value
