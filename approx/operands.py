"""How a layer's activation codes and weights reach the circuit, and the product table that results.

A circuit multiplies two patterns of 2..8 bits; a layer multiplies an unsigned activation code `x` (0..255 at 8 bits,
affine) by an integer weight. `Operands` names the ways to bring the two together, and `layer_table` collapses circuit,
way and operand order into one table that is the truth for every kernel, error model and back end.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import torch

from multipliers import Multiplier


class Operands(StrEnum):
    """Weight coding of a layer; the numbers are those of an 8-bit circuit.

    SIGN_MAGNITUDE: weights -127..127, product sign(w) * T[x, |w|] of an unsigned circuit T (sign(0) is +).
    SIGN_MAGNITUDE_9: the same with weights -255..255, stored in one bit more: the whole second operand is used.
    AFFINE: weights 0..255 with a zero point per output channel, product T[x, w] of an unsigned circuit.
    SIGNED: weights -127..127, a signed circuit sees the code minus 128: T[x - 128, w] + 128 w.
    """

    SIGN_MAGNITUDE = "sign-magnitude"
    SIGN_MAGNITUDE_9 = "sign-magnitude-9"
    AFFINE = "affine"
    SIGNED = "signed"

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise ValueError(f"expected operands among {[o.value for o in cls]}, got {value!r}")

    @property
    def signed_circuit(self) -> bool:
        """Whether this coding needs a circuit for two's-complement operands."""
        return self is Operands.SIGNED

    def span(self, bits: int = 8) -> tuple[int, int]:
        """Smallest and largest weight value for a circuit whose weight operand has so many bits."""
        half, whole = (1 << (bits - 1)) - 1, (1 << bits) - 1
        return {
            Operands.SIGN_MAGNITUDE: (-half, half),
            Operands.SIGN_MAGNITUDE_9: (-whole, whole),
            Operands.AFFINE: (0, whole),
            Operands.SIGNED: (-half, half),
        }[self]

    @property
    def lowest(self) -> int:
        """Smallest weight value of an 8-bit circuit."""
        return self.span()[0]

    @property
    def highest(self) -> int:
        """Largest weight value of an 8-bit circuit."""
        return self.span()[1]

    @property
    def stored_bits(self) -> int:
        """Bits that store one weight of an 8-bit circuit."""
        return 9 if self is Operands.SIGN_MAGNITUDE_9 else 8


@dataclass(frozen=True, eq=False)
class LayerTable:
    """Products of every weight value with every activation code.

    Attributes:
        values: int32 [n_w, 256], read-only; row j belongs to weight value j - offset, column x to code x. Columns of
            codes the circuit has no pattern for repeat the last one; no layer may have such codes.
        offset: see above.
        code_bits, weight_bits: of the circuit's operands.
    """

    values: npt.NDArray[np.int32]
    offset: int
    code_bits: int = 8
    weight_bits: int = 8

    def __deepcopy__(self, memo: dict[int, object]) -> "LayerTable":
        return self  # immutable, and shared by every copy of a network

    def __setstate__(self, state: dict[str, object]) -> None:
        """Tables stay read-only in another process, where numpy would make them writeable."""
        self.__dict__.update(state)
        self.values.setflags(write=False)

    @property
    def weight_values(self) -> npt.NDArray[np.int32]:
        """int32 [n_w]: the weight value of each row."""
        return np.arange(len(self.values), dtype=np.int32) - np.int32(self.offset)

    def error(self) -> npt.NDArray[np.int32]:
        """int32 [n_w, 256]: table minus exact product, 0 for codes the circuit has no pattern for."""
        codes = np.arange(256, dtype=np.int32)
        error = np.subtract(self.values, np.multiply.outer(self.weight_values, codes), dtype=np.int32)
        return np.where(codes < 1 << self.code_bits, error, np.int32(0))

    @property
    def exact(self) -> bool:
        """Whether every entry is the exact product."""
        return not self.error().any()

    def tensor(self) -> torch.Tensor:
        """The values as a torch tensor [n_w, 256], the same at every call; not to be written."""
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
        multiplier: a circuit of 2..8 bits on either side.
        operands: weight coding; decides whether the circuit must be signed.
        swap: exchange the circuit's operands (weight on the first).

    Raises:
        ValueError: width or signedness of the circuit does not fit the coding.
    """
    widths = multiplier.width_a, multiplier.width_b
    if not 2 <= min(widths) <= max(widths) <= 8:
        raise ValueError(f"multiplier {multiplier.name!r} is {widths[0]}x{widths[1]} bits wide, layers need 2..8 bits")
    if multiplier.signed != operands.signed_circuit:
        kinds = {True: "signed", False: "unsigned"}
        raise ValueError(
            f"operands {operands.value!r} need a {kinds[operands.signed_circuit]} circuit, "
            f"{multiplier.name!r} is {kinds[multiplier.signed]}"
        )
    code_bits, weight_bits = widths[::-1] if swap else widths
    table = multiplier.table.T if swap else multiplier.table
    low, high = operands.span(weight_bits)
    weights = np.arange(low, high + 1, dtype=np.int32)
    codes = np.minimum(np.arange(256, dtype=np.int32), (1 << code_bits) - 1)
    if operands is Operands.SIGNED:
        middle, mask = 1 << (code_bits - 1), (1 << weight_bits) - 1
        patterns = (codes - middle) & ((1 << code_bits) - 1)
        values = table[patterns[None, :], weights[:, None] & mask] + middle * weights[:, None]
    else:
        values = table[codes[None, :], np.abs(weights)[:, None]] * np.where(weights < 0, -1, 1)[:, None]
    values = np.ascontiguousarray(values, dtype=np.int32)
    values.flags.writeable = False
    return LayerTable(values, -low, code_bits, weight_bits)
