"""Work on large tensors a part at a time, so that what lies between two tensors stays in the cache."""

from collections.abc import Callable

import torch

PART = 1 << 16  # elements; with 64-bit intermediates they stay in a second-level cache, and take 2 MB at most


def in_parts(
    function: Callable[..., torch.Tensor], *sources: torch.Tensor, into: torch.Tensor | None = None
) -> torch.Tensor:
    """`function(*sources)`, for a function that treats the rows of its arguments one by one.

    A graph (`torch.compile`, `torch.export`) takes the function whole: its compiler fuses what lies between.

    Args:
        function: of equally many rows of every source.
        sources: tensors with the same first dimension.
        into: memory the result may overwrite, for instance that of a source; a new tensor if None.
    """
    if torch.compiler.is_compiling():
        return function(*sources)
    rows = len(sources[0])
    step = max(1, PART * rows // max(1, sources[0].numel()))
    if rows <= step:
        return function(*sources)
    for start in range(0, rows, step):
        part = function(*(s[start : start + step] for s in sources))
        if into is None:
            into = part.new_empty_strided((rows, *part.shape[1:]), (part[0].numel(), *part.stride()[1:]))
        into[start : start + step] = part
    assert into is not None
    return into
