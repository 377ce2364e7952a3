"""What every error model offers."""

from abc import ABC, abstractmethod
from typing import ClassVar

from approx import LayerTrace, Operands
from approx.operands import LayerTable
from noise_models.prediction import ErrorPrediction


class ErrorModel(ABC):
    """Predicts the error of a circuit in a layer from what the layer saw on calibration data. Abstract.

    The error of one product is e(w, x) = table[w, x] - w * x in integer units; an output sums K of them (the zero-point
    terms are exact) and one integer unit is input_scale * weight scale of the channel in real output units.

    Attributes:
        name: key in the registry.
    """

    name: ClassVar[str]

    @abstractmethod
    def predict(self, trace: LayerTrace, operands: Operands, table: LayerTable) -> ErrorPrediction:
        """Moments of the layer's error.

        Args:
            trace: what the layer saw.
            operands: weight coding of the layer.
            table: the circuit in that coding (`approx.layer_table`). Of a narrow one the error is that of its products;
                that it takes coarser weights is not in it.

        Returns:
            The prediction, per output channel, in real output units.

        Raises:
            ValueError: the table is not of that coding, or its circuit is too narrow for the layer's codes.
        """


def check_table(trace: LayerTrace, operands: Operands, table: LayerTable) -> None:
    """Raises ValueError when a table does not belong to a coding or not to the layer's codes."""
    lowest, highest = operands.span(table.weight_bits)
    rows = highest - lowest + 1
    if table.offset != -lowest or table.values.shape != (rows, 256):
        raise ValueError(
            f"layer {trace.name!r}: operands {operands.value!r} need a table of {rows} x 256 products with offset "
            f"{-lowest}, got {' x '.join(map(str, table.values.shape))} with offset {table.offset}; make it "
            f"with layer_table(multiplier, operands, swap)"
        )
    if table.code_bits < 8 and trace.patches.max() >> table.code_bits:
        raise ValueError(
            f"layer {trace.name!r} reads codes up to {trace.patches.max()}, the circuit takes {table.code_bits} bits; "
            f"trace a network quantised with bits={table.code_bits}"
        )
