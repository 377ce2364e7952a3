"""Work on large tensors a part at a time, so that what lies between two tensors stays in the cache."""

from collections.abc import Callable

import torch

PART = 1 << 16  # elements; with 64-bit intermediates they stay in a second-level cache, and take 2 MB at most


def in_parts(function: Callable[..., torch.Tensor], *sources: torch.Tensor) -> torch.Tensor:
    """`function(*sources)`, for a function that treats the rows of its arguments one by one.

    A graph (`torch.compile`, `torch.export`) takes the function whole: its compiler fuses what lies between.

    Args:
        function: of equally many rows of every source.
        sources: tensors with the same first dimension.
    """
    if torch.compiler.is_compiling():
        return function(*sources)
    rows = len(sources[0])
    step = max(1, PART * rows // max(1, sources[0].numel()))
    if rows <= step:
        return function(*sources)
    whole: torch.Tensor | None = None
    for start in range(0, rows, step):
        part = function(*(s[start : start + step] for s in sources))
        if whole is None:
            like = part if part.stride(0) == part[0].numel() else part.contiguous()  # a row may not lie among others
            whole = like.new_empty_strided((rows, *like.shape[1:]), (like[0].numel(), *like.stride()[1:]))
        whole[start : start + step] = part
    assert whole is not None
    return whole
