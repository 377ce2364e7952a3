"""TVM is reached through one module, which refuses versions it does not know and imports nothing early."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from approx import tvm_adapter


def _versions(monkeypatch: pytest.MonkeyPatch, installed: dict[str, str]) -> None:
    def version(distribution: str) -> str:
        if distribution not in installed:
            raise metadata.PackageNotFoundError(distribution)
        return installed[distribution]

    monkeypatch.setattr(tvm_adapter.metadata, "version", version)
    tvm_adapter.tvm_problem.cache_clear()
    tvm_adapter.ffi_problem.cache_clear()


@pytest.fixture(autouse=True)
def _fresh_problem_cache():
    yield
    tvm_adapter.tvm_problem.cache_clear()
    tvm_adapter.ffi_problem.cache_clear()


def test_supported_versions_are_the_ones_pyproject_pins() -> None:
    pyproject = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    assert f'"apache-tvm=={tvm_adapter.TVM_VERSIONS[0]}"' in pyproject
    assert f'"apache-tvm-ffi=={tvm_adapter.TVM_FFI_VERSIONS[0]}"' in pyproject


@pytest.mark.parametrize("version", tvm_adapter.TVM_FFI_VERSIONS)
def test_every_listed_ffi_version_is_accepted(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    _versions(monkeypatch, {"apache-tvm": tvm_adapter.TVM_VERSIONS[0], "apache-tvm-ffi": version})
    assert tvm_adapter.tvm_available()


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        ({}, ["apache-tvm is not installed", "pip install apache-tvm=="]),
        ({"apache-tvm": "0.11.1"}, ["apache-tvm 0.11.1", "expected 0.27.0.post1", "pip install"]),
        ({"apache-tvm": "0.27.0.post1"}, ["apache-tvm-ffi is not installed"]),
        (
            {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.15.post2"},
            ["apache-tvm-ffi 0.1.15.post2", "expected 0.1.14.post0"],
        ),
    ],
)
def test_a_missing_or_other_version_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], words: list[str]
) -> None:
    _versions(monkeypatch, installed)
    assert not tvm_adapter.tvm_available()
    with pytest.raises(ImportError) as refusal:
        tvm_adapter.require_tvm()
    for word in words:
        assert word in str(refusal.value)


def test_importing_approx_kernels_imports_no_tvm() -> None:
    code = "import sys, approx.kernels, approx.tvm_adapter as a; a.tvm_available(); a.host_isa();"
    code += "assert not {'tvm', 'tvm_ffi', 'ziglang'} & set(sys.modules), 'imported early'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])


def test_submodules_are_found_and_unknown_ones_named() -> None:
    assert callable(tvm_adapter.tvm_submodule("script.tirx").prim_func)
    assert tvm_adapter.tvm_submodule("relax").__name__ == "tvm.relax"
    with pytest.raises(ImportError, match="no_such_part"):
        tvm_adapter.tvm_submodule("no_such_part")


@pytest.mark.parametrize(
    ("machine", "capability", "isa"),
    [
        ("x86_64", "AVX512", "x86-64-v4"),
        ("AMD64", "AVX2", "x86-64-v3"),
        ("x86_64", "DEFAULT", "x86-64-v2"),
        ("arm64", "DEFAULT", "aarch64"),
        ("riscv64", "DEFAULT", "riscv64"),
    ],
)
def test_isa_follows_machine_and_capability(
    monkeypatch: pytest.MonkeyPatch, machine: str, capability: str, isa: str
) -> None:
    monkeypatch.setattr(tvm_adapter.platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert tvm_adapter.host_isa.__wrapped__() == isa


def test_targets() -> None:
    assert tvm_adapter.host_target().kind.name == "llvm"
    assert "aarch64" in str(tvm_adapter.isa_target("aarch64"))
    with pytest.raises(ValueError, match="unknown instruction set.*'z80'"):
        tvm_adapter.isa_target("z80")


def test_torch_to_tvm_shares_memory() -> None:
    tensor = torch.arange(6, dtype=torch.int32).reshape(2, 3)
    view = tvm_adapter.torch_to_tvm(tensor)
    tensor[1, 2] = 99
    assert view.numpy()[1, 2] == 99


def test_torch_to_tvm_refuses_what_it_would_have_to_copy() -> None:
    with pytest.raises(ValueError, match=r"contiguous CPU tensor.*strides \[1, 3\].*contiguous\(\)"):
        tvm_adapter.torch_to_tvm(torch.zeros(2, 3).T)


def test_thread_count_reaches_tvm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVM_NUM_THREADS", "1")
    count = tvm_adapter.require_tvm().get_global_func("runtime.NumThreads")
    tvm_adapter.set_tvm_threads(2)
    assert count() == 2
    tvm_adapter.set_tvm_threads(1)
    assert count() == 1
    with pytest.raises(ValueError, match="at least 1"):
        tvm_adapter.set_tvm_threads(0)


def test_exporting_without_a_linker_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tvm_adapter, "can_link", lambda: False)
    with pytest.raises(RuntimeError, match="ziglang"):
        tvm_adapter.export_shared(None, tmp_path / "library.so")
