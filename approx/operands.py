"""How a layer's activation codes and weights reach the circuit, and the product table that results.

A circuit multiplies two 8-bit patterns; a layer multiplies an unsigned activation code `x` (0..255, affine) by an
integer weight. `Operands` names the ways to bring the two together, and `layer_table` collapses circuit, way and
operand order into one table that is the truth for every kernel, error model and back end.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import torch

from multipliers import Multiplier


class Operands(StrEnum):
    """Weight coding of a layer.

    SIGN_MAGNITUDE: weights -127..127, product sign(w) * T[x, |w|] of an unsigned circuit T (sign(0) is +).
    SIGN_MAGNITUDE_9: the same with weights -255..255, stored in 9 bits: the whole second operand is used.
    AFFINE: weights 0..255 with a zero point per output channel, product T[x, w] of an unsigned circuit.
    SIGNED: weights -127..127, a signed circuit sees the code minus 128: T[x - 128, w] + 128 w.
    """

    SIGN_MAGNITUDE = "sign-magnitude"
    SIGN_MAGNITUDE_9 = "sign-magnitude-9"
    AFFINE = "affine"
    SIGNED = "signed"

    @property
    def signed_circuit(self) -> bool:
        """Whether this coding needs a circuit for two's-complement operands."""
        return self is Operands.SIGNED

    @property
    def lowest(self) -> int:
        """Smallest weight value."""
        return {"sign-magnitude": -127, "sign-magnitude-9": -255, "affine": 0, "signed": -127}[self.value]

    @property
    def highest(self) -> int:
        """Largest weight value."""
        return {"sign-magnitude": 127, "sign-magnitude-9": 255, "affine": 255, "signed": 127}[self.value]

    @property
    def weight_bits(self) -> int:
        """Bits that store one weight."""
        return 9 if self is Operands.SIGN_MAGNITUDE_9 else 8


@dataclass(frozen=True, eq=False)
class LayerTable:
    """Products of every weight value with every activation code.

    Attributes:
        values: int32 [n_w, 256], read-only; row j belongs to weight value j - offset, column x to code x.
        offset: see above.
    """

    values: npt.NDArray[np.int32]
    offset: int

    def __deepcopy__(self, memo: dict[int, object]) -> "LayerTable":
        return self  # immutable, and shared by every copy of a network

    @property
    def weight_values(self) -> npt.NDArray[np.int32]:
        """int32 [n_w]: the weight value of each row."""
        return np.arange(len(self.values), dtype=np.int32) - np.int32(self.offset)

    def error(self) -> npt.NDArray[np.int32]:
        """int32 [n_w, 256]: table minus exact product."""
        exact = self.weight_values[:, None] * np.arange(256, dtype=np.int32)
        return np.subtract(self.values, exact, dtype=np.int32)

    @property
    def exact(self) -> bool:
        """Whether every entry is the exact product."""
        return not self.error().any()

    def tensor(self) -> torch.Tensor:
        """The values as a torch tensor [n_w, 256] that shares their memory; not to be written."""
        return _tensor(self)


@cache
def exact_table(operands: Operands) -> LayerTable:
    """The layer table of exact products."""
    weights = np.arange(operands.lowest, operands.highest + 1, dtype=np.int32)
    values = np.multiply.outer(weights, np.arange(256, dtype=np.int32))
    values.flags.writeable = False
    return LayerTable(values, -operands.lowest)


@lru_cache(maxsize=512)
def _tensor(table: LayerTable) -> torch.Tensor:
    return torch.from_numpy(table.values.copy())


@lru_cache(maxsize=512)
def layer_table(multiplier: Multiplier, operands: Operands, swap: bool = False) -> LayerTable:
    """The layer table of a circuit.

    Args:
        multiplier: an 8x8 circuit.
        operands: weight coding; decides whether the circuit must be signed.
        swap: exchange the circuit's operands (weight on the first).

    Raises:
        ValueError: width or signedness of the circuit does not fit the coding.
    """
    if (multiplier.width_a, multiplier.width_b) != (8, 8):
        raise ValueError(
            f"multiplier {multiplier.name!r} is {multiplier.width_a}x{multiplier.width_b} bits wide, layers need 8x8"
        )
    if multiplier.signed != operands.signed_circuit:
        kinds = {True: "signed", False: "unsigned"}
        raise ValueError(
            f"operands {operands.value!r} need a {kinds[operands.signed_circuit]} circuit, "
            f"{multiplier.name!r} is {kinds[multiplier.signed]}"
        )
    table = multiplier.table.T if swap else multiplier.table
    weights = np.arange(operands.lowest, operands.highest + 1, dtype=np.int32)
    codes = np.arange(256, dtype=np.int32)
    if operands is Operands.SIGNED:
        values = table[(codes[None, :] - 128) & 255, weights[:, None] & 255] + 128 * weights[:, None]
    else:
        values = table[codes[None, :], np.abs(weights)[:, None]] * np.where(weights < 0, -1, 1)[:, None]
    values = np.ascontiguousarray(values, dtype=np.int32)
    values.flags.writeable = False
    return LayerTable(values, -operands.lowest)
