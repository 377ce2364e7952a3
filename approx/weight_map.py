"""Weight map: every weight value stands in by the one whose products the circuit gets most like its own.

    w -> argmin over w' of Var_x (T[w', x] - w x)

over the activation codes a layer sees; the mean is left out, free correction takes it. Source: ALWANN (Mrazek et al.,
ICCAD 2019), which weights all codes alike and the absolute error. A network's own weights are moved by
`approx.weight_tuning`, which sees more; the map foretells, for the cost of one small matrix product a circuit, what
that will make of the circuit's error, and so belongs into the choice of circuits.
"""

import numpy as np
import numpy.typing as npt

from approx.operands import LayerTable


def weight_map(table: LayerTable, codes: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Row of the table that stands in for each weight value.

    Args:
        table: of a circuit.
        codes: float64 [256], how often the layer sees each activation code; any positive sum.

    Returns:
        int64 [n_w]; a weight stays where it is unless another one is better.

    Raises:
        ValueError: no code is ever seen, or a share is negative.
    """
    if codes.shape != (256,) or not (codes >= 0).all() or not codes.any():
        raise ValueError(f"expected the share of each of 256 codes, not negative and not all 0, got {codes!r}")
    seen = np.flatnonzero(codes)
    share = codes[seen] / codes.sum()
    products = table.values[:, seen].astype(np.float64)
    products -= (products @ share)[:, None]
    centred = seen - seen @ share
    variance, covariance = products**2 @ share, products @ (centred * share)
    cost = variance - 2.0 * np.multiply.outer(table.weight_values, covariance)  # [w, w'], less what w' does not change
    best, stay = cost.argmin(1), np.arange(len(cost))
    return np.where(cost[stay, best] < cost.diagonal(), best, stay)


def mapped(table: LayerTable, codes: npt.NDArray[np.float64]) -> LayerTable:
    """The table as weights moved by `weight_map` meet it."""
    values = table.values[weight_map(table, codes)]
    values.flags.writeable = False
    return LayerTable(values, table.offset, table.code_bits, table.weight_bits)
