"""The emulator counts, measures and reports faults."""

import numpy as np
import pytest

from deploy.emulator import EmulationError, Memory, count_thumb, emulate
from deploy.golden import random_golden
from deploy.targets import CortexM4
from deploy.testing import random_program

unicorn = pytest.importorskip("unicorn", reason="needs picojoule[emulate]")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    program = random_program(np.random.default_rng(4), length=3)
    golden = random_golden(program, 3)
    folder = tmp_path_factory.mktemp("device") / "out"
    return CortexM4().build(program, folder, golden), golden


def test_block_count_against_instruction_by_instruction(built, monkeypatch):
    artifact, golden = built
    image, size = artifact.folder / "net.elf", golden.outputs.shape[1]
    quick = emulate(image, golden.inputs[:1], size)
    monkeypatch.setattr("deploy.emulator.count_thumb", lambda code: 0)
    original = unicorn.Uc.hook_add
    counted = []

    def add(machine, kind, callback, *rest):
        if kind == unicorn.UC_HOOK_BLOCK:
            return original(machine, unicorn.UC_HOOK_CODE, lambda *_: counted.append(1))
        return original(machine, kind, callback, *rest)

    monkeypatch.setattr(unicorn.Uc, "hook_add", add)
    emulate(image, golden.inputs[:1], size)
    assert quick.instructions == artifact.instructions
    assert len(counted) <= quick.instructions <= 1.03 * len(counted)  # blocks hold skipped conditional instructions


def test_runs_are_independent(built):
    """Every order of inputs gives the same outputs: nothing is left over in the arena."""
    artifact, golden = built
    result = emulate(artifact.folder / "net.elf", golden.inputs[::-1], golden.outputs.shape[1])
    np.testing.assert_array_equal(result.outputs, golden.outputs[::-1])


@pytest.mark.parametrize(
    ("code", "count"),
    [("00bf", 1), ("00bf00bf", 2), ("aff30080", 1), ("00bfaff3008000bf", 3), ("", 0)],
)
def test_count_thumb(code, count):
    assert count_thumb(bytes.fromhex(code)) == count


def test_faults_are_explained(built):
    artifact, golden = built
    with pytest.raises(EmulationError, match="faulted at 0x"):
        emulate(artifact.folder / "net.elf", golden.inputs, golden.outputs.shape[1], Memory(ram_bytes=4096))


def test_refuses_nonsense(built):
    artifact, golden = built
    image, size = artifact.folder / "net.elf", golden.outputs.shape[1]
    with pytest.raises(ValueError, match="at least one"):
        emulate(image, golden.inputs[:0], size)
    with pytest.raises(ValueError, match="multiples of 4096"):
        emulate(image, golden.inputs, size, Memory(ram_bytes=1000))
    with pytest.raises(ValueError, match="does not fit"):
        emulate(image, golden.inputs, size, Memory(flash_bytes=4096))
    with pytest.raises(ValueError, match="no little-endian ELF"):
        emulate(artifact.folder / "net.c", golden.inputs, size)
