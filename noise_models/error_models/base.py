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
            table: the circuit in that coding (`approx.layer_table`).

        Returns:
            The prediction, per output channel, in real output units.

        Raises:
            ValueError: the table is not of that coding.
        """


def check_table(trace: LayerTrace, operands: Operands, table: LayerTable) -> None:
    """Raises ValueError when a table does not belong to a coding."""
    rows = operands.highest - operands.lowest + 1
    if table.offset != -operands.lowest or table.values.shape != (rows, 256) or table.code_bits != 8:
        raise ValueError(
            f"layer {trace.name!r}: operands {operands.value!r} need a table of {rows} x 256 products with offset "
            f"{-operands.lowest}, got {' x '.join(map(str, table.values.shape))} with offset {table.offset}; make it "
            f"with layer_table(multiplier, operands, swap)"
        )
