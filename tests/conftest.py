"""Fixtures shared by every room: real data read by path, skipped visibly where it is absent."""

import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # pytest-xdist gives each core a process of its own
os.environ["GOMP_SPINCOUNT"] = "0"

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)  # the same examples in every run, timed never
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"the shared data folder {SHARED} is not here")
    return SHARED


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Networks that a test file builds when it is imported are the same in every run."""
    if isinstance(collector, pytest.Module):
        torch.manual_seed(0)
        np.random.seed(0)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
