"""Derivatives of a product table, as smoothed differences.

Meng, Burleson, Qian, De Micheli, "Gradient Approximation of Approximate Multipliers for High-Accuracy Deep Neural
Network Retraining" (DATE 2025), with h the half window size:

    S(w, x) = mean of T(w, x + d) over |d| <= h
    dT/dx = (S(w, x + 1) - S(w, x - 1)) / 2                          where both windows lie in the table
    dT/dx = (max T(w, .) - min T(w, .)) / number of codes            in the h + 1 border codes of either side

and the same along w. A layer's table is in numeric order along both operands, for signed ones as well, so this is
the paper's rule for either; the sign of the border's slope (the paper's tables only rise) is that of the row's ends.

A derivative that depends on weight and activation is not a convolution. It becomes a few by singular value
decomposition, dT/dx = Σ_r u_r(w) v_r(x). Every fourth unsigned circuit of the default library, h = 1..32: 1..44
planes, half of the tables at most 3. A table of random noise needs far more.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from approx.operands import LayerTable

LARGEST_HALF_WINDOW = 125  # of the 255 weight values
TOLERANCE = 0.01  # root of the squared part of the derivative that the dropped planes may hold

Floats = npt.NDArray[np.float64]


def check_half_window(half_window: int) -> None:
    """Checks a half window size.

    Raises:
        ValueError: not 0..125.
    """
    if not 0 <= half_window <= LARGEST_HALF_WINDOW:
        raise ValueError(f"half_window: expected 0..{LARGEST_HALF_WINDOW}, got {half_window}; published ones are 1..64")


def smoothed_difference(rows: npt.NDArray[np.int32], half_window: int) -> Floats:
    """Derivative along the last axis.

    Args:
        rows: int32 [m, n], numeric order along n.
        half_window: h above, 0 for the plain central difference.

    Returns:
        float64 [m, n].

    Raises:
        ValueError: n holds no two windows.
    """
    edge, count = half_window + 1, rows.shape[1]
    if half_window < 0 or count < 2 * edge + 1:
        raise ValueError(f"half_window: expected 0..{(count - 3) // 2} for {count} values, got {half_window}")
    wide = rows.astype(np.float64)
    direction = np.sign(wide[:, -1] - wide[:, 0])
    slope = np.repeat((direction * np.ptp(wide, axis=1) / count)[:, None], count, axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(wide, 2 * half_window + 1, axis=1).mean(2)
    slope[:, edge:-edge] = (windows[:, 2:] - windows[:, :-2]) / 2
    return slope


@dataclass(frozen=True, eq=False)
class Planes:
    """A derivative as a sum of products: Σ_r of_weight[r, j] * of_code[r, x].

    Attributes:
        of_weight: float32 [R, n_w].
        of_code: float32 [R, 256].
    """

    of_weight: torch.Tensor
    of_code: torch.Tensor


@lru_cache(maxsize=128)
def derivative_planes(table: LayerTable, half_window: int) -> tuple[Planes, Planes]:
    """Derivatives of a layer's table along the activation code and along the weight value.

    Raises:
        ValueError: the half window does not fit the table.
    """
    codes = 1 << table.code_bits  # the columns behind repeat the last one; no layer has such codes
    products = table.values[:, :codes]
    along_code, along_weight = np.zeros((2, *table.values.shape))
    along_code[:, :codes] = smoothed_difference(products, half_window)
    along_weight[:, :codes] = smoothed_difference(products.T, half_window).T
    return _planes(along_code), _planes(along_weight)


def _planes(derivative: Floats) -> Planes:
    left, size, right = np.linalg.svd(derivative, full_matrices=False)
    dropped = np.sqrt(np.cumsum(size[::-1] ** 2)[::-1])  # what is lost when plane r and all after it go
    count = int((dropped > TOLERANCE * dropped[0]).sum())
    of_weight = (left[:, :count] * size[:count]).T
    return Planes(*(torch.tensor(v, dtype=torch.float32) for v in (of_weight, right[:count])))
