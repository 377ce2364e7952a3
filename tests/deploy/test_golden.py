"""Golden vectors: made, kept, compared."""

import numpy as np
import pytest

from deploy.golden import GoldenVectors, compare_golden, load_golden, make_golden, random_golden, save_golden
from deploy.interpreter import run
from deploy.testing import random_codes, random_program


@pytest.fixture
def golden():
    return random_golden(random_program(np.random.default_rng(2)), 5)


def test_made_by_the_interpreter():
    rng = np.random.default_rng(3)
    program = random_program(rng)
    codes = random_codes(rng, program, 3)
    golden = make_golden(program, codes)
    np.testing.assert_array_equal(golden.outputs, run(program, codes))
    assert (random_golden(program, 4, seed=1).inputs != random_golden(program, 4, seed=2).inputs).any()


def test_round_trip_and_truncation(golden, tmp_path):
    path = tmp_path / "a" / "golden.safetensors"
    save_golden(golden, path)
    loaded = load_golden(path)
    np.testing.assert_array_equal(loaded.inputs, golden.inputs)
    np.testing.assert_array_equal(loaded.outputs, golden.outputs)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="make them again"):
        load_golden(path)
    with pytest.raises(FileNotFoundError):
        load_golden(tmp_path / "nothing")


def test_compare(golden):
    assert compare_golden(golden, golden.outputs).equal
    wrong = golden.outputs.astype(np.int32)
    wrong[2, 1] += 1
    wrong[4, 0] -= 7
    outcome = compare_golden(golden, wrong)
    assert (outcome.mismatches, outcome.equal, outcome.vectors) == (2, False, 5)
    assert "vector 2" in outcome.first
    with pytest.raises(ValueError, match="every golden input"):
        compare_golden(golden, golden.outputs[:-1])


def test_refuses_what_is_no_golden_vector(golden):
    for inputs, outputs in (
        (golden.inputs[:0], golden.outputs[:0]),
        (golden.inputs[:1], golden.outputs),
        (golden.inputs.astype(np.int32), golden.outputs),
    ):
        with pytest.raises(ValueError, match="make_golden"):
            GoldenVectors(inputs, outputs)
