"""How large an accumulator can become: back ends sum in 32 bits and must know that this suffices."""

import numpy as np
import numpy.typing as npt

from deploy.program import IntegerWeights

Int64 = npt.NDArray[np.int64]


def accumulator_bound(weights: IntegerWeights, name: str) -> Int64:
    """Largest |accumulator| of each output channel over all inputs, int64 [O].

    Raises:
        ValueError: it does not fit 32 bits.
    """
    values = weights.values.reshape(len(weights.values), -1).astype(np.int64)
    zero = weights.weight_zero.astype(np.int64)
    if weights.table is None:
        products = np.abs(values - zero[:, None]).sum(axis=1) * 255
    else:
        largest = np.abs(weights.table.astype(np.int64)).max(axis=1)
        products = largest[values + weights.offset].sum(axis=1) + np.abs(zero) * 255 * values.shape[1]
    bound: Int64 = products + np.abs(weights.bias.astype(np.int64))
    if bound.max(initial=0) >= 1 << 31:
        raise ValueError(
            f"layer {name!r}: an accumulator may reach {bound.max()}, expected below 2^31 for 32-bit sums; "
            "split the layer over its inputs or use smaller weights"
        )
    return bound
