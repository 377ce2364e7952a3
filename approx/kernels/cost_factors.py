"""How much slower or faster than the cost model's machine each path is on this one.

The cost model's constants (`dispatch.py`) were measured on one processor. `calibrate.py` measures every path here and
keeps one factor a path, beside the compiled kernels, by instruction set. Without that all factors are 1. They only
decide which path is taken; the integers are the same.
"""

import json
import logging
import math
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from .. import tvm_adapter
from .compiled import cache_folder

_LOG = logging.getLogger(__name__)


def factors_file() -> Path:
    """Where the factors of this machine's instruction set are kept."""
    features = "+".join((tvm_adapter.host_isa(), *tvm_adapter.host_features()))
    return cache_folder() / f"costs-{features}.json"


@cache
def cost_factors() -> Mapping[str, float]:
    """Measured over predicted time by path; empty where nothing was measured. Read once a process."""
    file = factors_file()
    try:
        found = json.loads(file.read_text())
    except OSError:
        return {}
    except ValueError as error:
        found = error
    if not isinstance(found, dict) or not all(_is_factor(value) for value in found.values()):
        _LOG.warning("%s cannot be used (%s); run `picojoule kernels calibrate` again", file, found)
        return {}
    return found


def _is_factor(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value) and value > 0


def save_cost_factors(factors: Mapping[str, float]) -> Path:
    """Keeps the factors, whole or not at all, and uses them from now on.

    Raises:
        OSError: the folder cannot be written.
    """
    file = factors_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        fresh = Path(folder) / file.name
        fresh.write_text(json.dumps(dict(factors), indent=2) + "\n")
        os.replace(fresh, file)
    cost_factors.cache_clear()
    return file
