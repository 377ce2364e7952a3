"""Real data sets, unpacked once per session."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def unpacked(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data root with CIFAR-10 and MNIST."""
    root = tmp_path_factory.mktemp("data")
    for name in ("cifar10", "mnist"):
        subprocess.run([sys.executable, shared_data / "unpack.py", name, root], check=True, capture_output=True)
    return root
