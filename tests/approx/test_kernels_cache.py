"""Compiled kernels on disk: found by a second process, rebuilt when damaged, never half-written."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from approx import tvm_adapter
from approx.kernels import compiled as cache
from approx.kernels import gather_script, shipping
from approx.kernels.gather_script import GatherClass, gather_kernel

SOURCE = Path(gather_script.__file__)
ROOT = SOURCE.parents[2]
pytestmark = pytest.mark.skipif(not tvm_adapter.can_link(), reason="kernels cannot be linked here")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PICOJOULE_CACHE", str(tmp_path / "cache"))
    cache.forget()
    yield tmp_path / "cache" / "kernels"
    cache.forget()


def _never(kernel: GatherClass) -> None:
    raise AssertionError(f"{kernel} should have come from the disk")


def _get(script=gather_kernel):
    kernel = GatherClass(tvm_adapter.host_isa())
    return cache.compiled(kernel, kernel.name, kernel.isa, script, SOURCE)


def _works(function) -> bool:
    codes = torch.arange(4, dtype=torch.uint8)
    place, tap = torch.arange(4, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    table = torch.arange(256, dtype=torch.int32) * 10
    out = torch.empty(4, 1, dtype=torch.int32)
    function(codes, place, tap, torch.zeros(1, 1, dtype=torch.int32), table, out, 1, 1, 0, 4, 0, 1)
    return out.flatten().tolist() == [0, 10, 20, 30]


def test_a_kernel_is_compiled_once_and_then_read(folder: Path) -> None:
    assert _works(_get())
    assert len(list(folder.iterdir())) == 1  # no temporary file is left
    cache.forget()
    assert _works(_get(_never))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign", "digest only"])
def test_a_damaged_entry_is_rebuilt(folder: Path, damage: str) -> None:
    _get()
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 1
    contents = {
        "truncated": whole[: len(whole) // 2],
        "flipped": bytes(broken),
        "empty": b"",
        "foreign": b"not a library",
        "digest only": whole[-32:],
    }[damage]
    fresh = folder / "fresh"
    fresh.write_bytes(contents)
    os.replace(fresh, entry)  # a new file, as an interrupted writer would leave: the loaded one stays mapped
    cache.forget()
    assert _works(_get())
    assert cache.is_whole(entry)


def test_another_kernel_s_entry_is_rebuilt(folder: Path) -> None:
    _get()
    (entry,) = folder.iterdir()
    kernel, script, module = next(k for k in shipping.kernels(tvm_adapter.host_isa()) if k[2] is not gather_script)
    cache.write(cache.build(kernel, kernel.name, kernel.isa, script), entry)
    assert cache.is_whole(entry) and module is not gather_script
    cache.forget()
    assert _works(_get())


def test_the_key_holds_isa_and_source(folder: Path, tmp_path: Path) -> None:
    _get()
    kernel = GatherClass(tvm_adapter.host_isa())
    other = tmp_path / "other_source.py"
    other.write_text("# another version of the kernel")
    cache.forget()
    cache.compiled(kernel, kernel.name, kernel.isa, gather_kernel, other)
    names = [entry.name for entry in folder.iterdir()]
    assert len(set(names)) == 2 and all(kernel.isa in name for name in names)


def test_an_unwritable_cache_warns_and_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")
    monkeypatch.setenv("PICOJOULE_CACHE", str(occupied))
    with pytest.warns(UserWarning, match="cannot write the kernel cache.*PICOJOULE_CACHE"):
        assert _works(_get())


def test_without_a_linker_kernels_live_in_the_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tvm_adapter, "can_link", lambda: False)
    assert _works(_get())
    assert not folder.exists()


def test_a_second_process_needs_no_tvm_compiler(folder: Path) -> None:
    code = """
import sys, torch
from approx.kernels import table_matmul
codes = torch.randint(0, 256, (600, 20), dtype=torch.uint8)
index = torch.randint(0, 255, (20, 20), dtype=torch.int16)
table = (torch.arange(-127, 128)[:, None] * torch.arange(256)).int()
assert torch.equal(table_matmul(codes, index, table), codes.int() @ (index.int() - 127).T)
print("tvm" in sys.modules)
"""
    seen = [
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert seen == ["True\n", "False\n"]


def test_two_processes_may_build_at_once(folder: Path) -> None:
    code = """
from approx import tvm_adapter
from approx.kernels import compiled, gather_script
kernel = gather_script.GatherClass(tvm_adapter.host_isa())
from pathlib import Path
compiled.compiled(kernel, kernel.name, kernel.isa, gather_script.gather_kernel, Path(gather_script.__file__))
"""
    writers = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(2)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    (entry,) = folder.iterdir()
    assert cache.is_whole(entry)
