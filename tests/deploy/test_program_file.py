"""Programs survive the disk; damaged files are refused."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from deploy.interpreter import run
from deploy.program import IntegerWeights
from deploy.program_file import load_program, save_program
from deploy.testing import every_operation_program, random_codes, random_program


def assert_same(left, right):
    assert type(left) is type(right)
    if isinstance(left, np.ndarray):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    elif isinstance(left, IntegerWeights) or dataclasses.is_dataclass(left):
        for field in dataclasses.fields(left):
            assert_same(getattr(left, field.name), getattr(right, field.name))
    elif isinstance(left, tuple):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_same(a, b)
    else:
        assert left == right


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_round_trip(tmp_path_factory, seed):
    path = tmp_path_factory.mktemp("programs") / "deep" / "net.safetensors"
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    save_program(program, path)
    assert [file.name for file in path.parent.iterdir()] == ["net.safetensors"]
    loaded = load_program(path)
    assert_same(loaded, program)
    codes = random_codes(rng, program, 2)
    np.testing.assert_array_equal(run(loaded, codes), run(program, codes))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "net.safetensors"
    save_program(every_operation_program(np.random.default_rng(1)), path)
    return path


def test_equal_tables_are_stored_once(saved):
    program = load_program(saved)
    tables = {
        op.weights.table.tobytes()
        for op in program.operations
        if hasattr(op, "weights") and op.weights.table is not None
    }
    with safe_open(saved, framework="numpy") as file:
        assert sum(name.startswith("table.") for name in file.keys()) == len(tables)  # noqa: SIM118


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 0.5, -1])
def test_truncated(saved, keep):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match=saved.name):
        load_program(saved)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no program file"):
        load_program(tmp_path / "nothing")


def rewrite(path, change):
    with safe_open(path, framework="numpy") as file:
        document = json.loads(file.metadata()["program"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(document, arrays)
    save_file(arrays, path, metadata={"program": json.dumps(document)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, a: d.update(version=99), "version 99"),
        (lambda d, a: d.update(kind="cake"), "no picojoule program"),
        (lambda d, a: d.pop("tensors"), "tensors"),
        (lambda d, a: d["operations"][0].update(kind="__import__"), "unknown operation"),
        (lambda d, a: d["operations"][0].pop("stride"), "stride"),
        (lambda d, a: d["operations"][0].update(stride="ab"), "integer"),
        (lambda d, a: d["operations"][0].update(stride=[1.5, 1]), "integer"),
        (lambda d, a: d["operations"].pop(0), "before anything writes it"),
        (lambda d, a: a.pop("0.values"), "0.values"),
        (lambda d, a: a.update({"0.values": a["0.values"][:1]}), "layer0"),
        (lambda d, a: d["operations"][0].update(high=999), "clamps"),
    ],
)
def test_damaged(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(ValueError, match=message):
        load_program(saved)


def test_foreign_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="no picojoule program"):
        load_program(path)
