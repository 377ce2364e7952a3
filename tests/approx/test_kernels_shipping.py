"""Kernels that come with a wheel: every one a layer may ask for, and nothing but `tvm_ffi` to use them."""

import subprocess
import sys
from pathlib import Path

import pytest

from approx import tvm_adapter
from approx.kernels import compiled, shipping

ROOT = Path(compiled.__file__).parents[2]
pytestmark = pytest.mark.skipif(not tvm_adapter.can_link(), reason="kernels cannot be linked here")
HERE = "+".join((tvm_adapter.host_isa(), *tvm_adapter.host_features()))

WITHOUT_TVM = """
import sys, warnings
from pathlib import Path
import torch
from approx import tvm_adapter
from approx.kernels import compiled, reference, table_conv2d, table_matmul
from approx.kernels.dispatch import PATHS
from approx.kernels.geometry import conv_geometry

sys.modules["tvm"] = None  # an import of it is an error
tvm_adapter.tvm_problem = lambda: "apache-tvm is not installed"
compiled.shipped_folder = lambda: Path(sys.argv[1])
warnings.simplefilter("error")
torch.manual_seed(0)
any_table = torch.randint(0, 60000, (511, 256), dtype=torch.int32)
product = (torch.arange(-127, 128)[:, None] * torch.arange(256)).int()
for groups, channels, outputs in ((1, 3, 70), (1, 20, 16), (16, 16, 16), (4, 16, 8), (1, 70, 5)):
    codes = torch.randint(0, 256, (2, 9, 9, channels), dtype=torch.uint8)
    for table in (any_table, product, product + 7):
        index = torch.randint(0, len(table), (outputs, 3, 3, channels // groups), dtype=torch.int16)
        wanted = reference.table_conv2d(codes, index, table, groups=groups, pad_code=3, padding=(1, 1, 1, 1))
        shape = conv_geometry(codes, index, (1, 1), (1, 1, 1, 1), (1, 1), groups)
        for path in PATHS:
            prepared = path.prepare(table)
            if prepared is not None and path.nanoseconds(shape, prepared) < float("inf"):
                assert torch.equal(path.kernel.conv2d(codes, index, prepared, shape, 3), wanted), path.name
        assert torch.equal(table_conv2d(codes, index, table, groups=groups, pad_code=3, padding=(1, 1, 1, 1)), wanted)
print("ok")
"""


def test_every_kernel_is_listed_once_for_every_instruction_set() -> None:
    assert "x86-64-v3" in shipping.ISAS and "x86-64-v4" in shipping.ISAS and "aarch64" in shipping.ISAS
    for isa in shipping.ISAS:
        names = [(kernel.name, kernel.isa) for kernel, _, _ in shipping.kernels(isa)]
        assert len(names) == len(set(names)) > 10
        assert {level.split("+")[0] for _, level in names} == {isa.split("+")[0]}


@pytest.mark.slow
@pytest.mark.skipif(HERE not in shipping.ISAS, reason=f"no kernels are shipped for {HERE}")
def test_shipped_kernels_serve_every_layer_without_tvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = shipping.ship(tmp_path / "shipped", (HERE,))
    assert all(compiled.is_whole(file) for file in files)
    monkeypatch.setenv("PICOJOULE_CACHE", str(tmp_path / "cache"))
    command = [sys.executable, "-c", WITHOUT_TVM, str(tmp_path / "shipped")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout == "ok\n", result.stderr[-2000:]
    assert not list((tmp_path / "cache" / "kernels").glob("*.so"))  # nothing had to be compiled


@pytest.mark.slow
@pytest.mark.parametrize("isa", shipping.ISAS)
def test_every_listed_kernel_compiles(isa: str, tmp_path: Path) -> None:
    files = shipping.ship(tmp_path, (isa,))
    assert len(files) == len(list(tmp_path.iterdir()))
    before = {file: file.stat().st_mtime_ns for file in files}
    assert shipping.ship(tmp_path, (isa,)) == files
    assert {file: file.stat().st_mtime_ns for file in files} == before


def test_shipped_kernels_make_up_for_a_missing_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "shipped_folder", lambda: tmp_path)
    monkeypatch.setattr(tvm_adapter, "tvm_problem", lambda: "apache-tvm is not installed")
    compiled._ships.cache_clear()
    assert compiled.kernel_problem() == "apache-tvm is not installed"
    (tmp_path / f"row-{tvm_adapter.host_isa()}-0.so").touch()
    compiled._ships.cache_clear()
    assert compiled.kernel_problem() is None
    compiled._ships.cache_clear()


def test_shipped_entries_come_before_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, script, module = next(iter(shipping.kernels(tvm_adapter.host_isa())))
    source = Path(str(module.__file__))
    entry = tmp_path / compiled.entry_file(kernel.name, kernel.isa, source)
    compiled.write(compiled.build(kernel, kernel.name, kernel.isa, script), entry)
    monkeypatch.setattr(compiled, "shipped_folder", lambda: tmp_path)
    monkeypatch.setenv("PICOJOULE_CACHE", str(tmp_path / "empty"))
    compiled.forget()
    compiled.compiled(kernel, kernel.name, kernel.isa, lambda _: pytest.fail("compiled again"), source)
    assert not (tmp_path / "empty").exists()
    compiled.forget()
