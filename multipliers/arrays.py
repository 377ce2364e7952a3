"""Names of the array types that pass between modules."""

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int32]
"""Product tables and operand values."""

Int64Array = npt.NDArray[np.int64]
"""Operands and products, sums of them, bit patterns."""

FloatArray = npt.NDArray[np.float64]
"""Probabilities and figures."""

Words = npt.NDArray[np.uint64]
"""Bits of many operand pairs, 64 pairs to a word."""
