"""Targets build, check themselves, refuse what does not fit, and leave nothing half-written."""

import importlib.util
import shutil
from dataclasses import replace

import numpy as np
import pytest

from deploy.golden import GoldenVectors, load_golden, random_golden
from deploy.program_file import load_program
from deploy.targets import TARGETS, CortexM4, target
from deploy.testing import every_operation_program, random_program
from deploy.zig import BuildError, run_zig

emulated = pytest.mark.skipif(importlib.util.find_spec("unicorn") is None, reason="needs picojoule[emulate]")


@pytest.fixture(scope="module")
def program():
    return every_operation_program(np.random.default_rng(11))


def outcome(artifact, name="golden"):
    return next(check for check in artifact.checks if check.name == name)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_builds_and_checks(program, tmp_path, name):
    golden = random_golden(program, 3, seed=5)
    artifact = target(name).build(program, tmp_path / "out", golden)
    assert artifact.passed
    assert artifact.target == name
    assert {"net.c", "net.h", "libnet.a", "program.safetensors", "golden.safetensors"} <= set(artifact.files)
    assert all((artifact.folder / file).is_file() for file in artifact.files)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert 10_000 < artifact.sizes.flash < 1_000_000
    assert 1_000 < artifact.sizes.ram < 100_000
    np.testing.assert_array_equal(load_golden(tmp_path / "out" / "golden.safetensors").outputs, golden.outputs)
    assert load_program(tmp_path / "out" / "program.safetensors").output == program.output
    if name == "aarch64" and not (shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")):
        assert outcome(artifact).outcome == "skipped"
        pytest.skip("built for aarch64, but there is no qemu-aarch64 to run it")
    assert outcome(artifact).outcome == "passed", artifact.checks


@emulated
@pytest.mark.parametrize("seed", range(6))
def test_cortex_m4_equals_the_interpreter(tmp_path, seed):
    program = random_program(np.random.default_rng(200 + seed), length=9)
    artifact = target("cortex-m4").build(program, tmp_path / "out", random_golden(program, 6, seed=seed))
    assert outcome(artifact).outcome == "passed", artifact.checks
    assert artifact.instructions > 1000
    assert 0 < artifact.sizes.stack < 2048


@pytest.mark.parametrize("name", ["x86-64", pytest.param("cortex-m4", marks=emulated)])
def test_a_wrong_integer_fails_the_check(tmp_path, name):
    program = random_program(np.random.default_rng(3))
    golden = random_golden(program, 2)
    outputs = golden.outputs.copy()
    outputs[1, 0] ^= 1
    artifact = target(name).build(program, tmp_path / "out", GoldenVectors(golden.inputs, outputs))
    assert not artifact.passed
    assert "1 mismatches in 2 vectors" in outcome(artifact).detail


def test_rebuild_replaces_and_foreign_folder_is_refused(tmp_path):
    small = random_program(np.random.default_rng(3), length=1)
    folder = tmp_path / "out"
    target("x86-64").build(small, folder)
    (folder / "old").write_text("x")
    assert "old" not in target("x86-64").build(small, folder).files
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("x")
    with pytest.raises(ValueError, match="holds other files"):
        target("x86-64").build(small, other)
    assert (other / "chapter.tex").is_file()


def test_too_small_a_device(program, tmp_path):
    for device in (CortexM4(flash_bytes=16 << 10), CortexM4(ram_bytes=8 << 10)):
        with pytest.raises(BuildError, match="larger device"):
            device.build(program, tmp_path / "out")
        assert list(tmp_path.iterdir()) == []


@emulated
def test_too_little_stack(tmp_path):
    program = random_program(np.random.default_rng(3), length=2)
    artifact = CortexM4(stack_bytes=16).build(program, tmp_path / "out")
    assert outcome(artifact, "stack").outcome == "failed"
    assert not artifact.passed


def test_failed_build_leaves_nothing(tmp_path, monkeypatch):
    program = random_program(np.random.default_rng(3), length=1)
    monkeypatch.setattr("deploy.targets.base.emit_c", lambda _: {"net.h": "", "net.c": "#error broken"})
    with pytest.raises(BuildError, match="broken"):
        target("x86-64").build(program, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_missing_wheels(tmp_path, monkeypatch):
    program = random_program(np.random.default_rng(3), length=1)
    real = importlib.util.find_spec
    missing = set()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in missing else real(name))
    missing.add("unicorn")
    artifact = target("cortex-m4").build(program, tmp_path / "a")
    assert outcome(artifact).outcome == "skipped"
    assert "pip install 'picojoule[emulate]'" in outcome(artifact).detail
    missing.add("ziglang")
    with pytest.raises(ModuleNotFoundError, match="pip install ziglang"):
        target("x86-64").build(program, tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_unknown_target():
    with pytest.raises(ValueError, match="cortex-m4, x86-64, aarch64"):
        target("z80")


def test_no_writable_home(tmp_path, monkeypatch):
    """zig's cache moves to the temporary folder where the user's cache cannot be made."""
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocker))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run_zig(["version"], tmp_path)
    assert any(path.name.startswith("picojoule-zig-") for path in tmp_path.iterdir())


def test_golden_default_covers_extremes(tmp_path):
    program = random_program(np.random.default_rng(9), length=1)
    artifact = target("x86-64").build(replace(program, metadata={}), tmp_path / "out")
    inputs = load_golden(artifact.folder / "golden.safetensors").inputs
    assert not inputs[0].any()
    assert (inputs[1] == 255).all()
