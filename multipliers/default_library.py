"""The generated library that is always there: nothing to download."""

from __future__ import annotations

import functools

from multipliers.generator import generate
from multipliers.library import Library

_UNSIGNED = (
    "exact",
    *(f"trunc{columns}" for columns in range(1, 12)),
    *(f"optrunc{bits}" for bits in range(1, 6)),
    *(f"bam_{levels}" for levels in ("h1v5", "h2v6", "h3v6", "h3v8", "h4v8", "h5v9", "h5v10")),
    *(f"drum{bits}" for bits in (3, 4, 5)),
    "perf_j1n2",
    "udm",
    "mitchell",
)
_SIGNED = (
    "exact",
    *(f"trunc{columns}" for columns in range(1, 8)),
    *(f"optrunc{bits}" for bits in range(1, 6)),
    "sm_trunc6",
    "sm_bam_h2v6",
    "sm_drum3",
)


@functools.cache
def default_library() -> Library:
    """8x8-bit circuits generated from the families, unsigned then signed; made once per process.

    Holds the exact references ``mul8u_exact`` and ``mul8s_exact`` and circuits spread over the whole range
    of error and energy; ``Library.pareto`` gives the front.
    """
    names = [f"mul8u_{suffix}" for suffix in _UNSIGNED] + [f"mul8s_{suffix}" for suffix in _SIGNED]
    return Library(generate(name) for name in names)
