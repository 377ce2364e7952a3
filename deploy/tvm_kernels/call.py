"""What one operation becomes in TVM: its constants, and a kernel shared by all operations of its shape."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class KernelCall:
    """A call of a compiled kernel.

    Attributes:
        key: everything the kernel depends on; operations with equal keys share one kernel.
        build: makes the kernel, a TVM PrimFunc (inputs..., constants..., output).
        constants: arguments after the operation's inputs; kept outside the code.
    """

    key: Hashable
    build: Callable[[], Any]
    constants: tuple[npt.NDArray[Any], ...]


def scalars(*values: int) -> npt.NDArray[np.int32]:
    """int32 [n]: numbers that differ between layers of one shape (zero points, clamps), read at run time."""
    return np.asarray(values, np.int32)
