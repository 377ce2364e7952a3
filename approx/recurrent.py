"""`QuantLSTM` and `QuantGRU`: one layer in one direction, a loop over the steps of a sequence.

They are made of other operations, each with its quantizer: two layers with weights, that take circuits by the names of
their parameters (`lstm.weight_ih_l0`), gates as tables, products value by value. States have 16 bits, everything else 8.
"""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial

import torch

from approx.linear import QuantLinear
from approx.lookup import QuantLookup
from approx.operation import Operation
from approx.operations import QuantAdd
from approx.product import QuantProduct
from approx.product_sum import QuantProductSum
from approx.quantizer import Quantizer
from approx.regrid import QuantRegrid

STATE_BITS = 16


class QuantRecurrent(Operation):
    """[N, T, F] -> hidden states [N, T, H], from zero states. Abstract.

    Attributes:
        from_input, from_hidden: the layers with weights.
        backwards: whether the last step comes first.
    """

    row_by_row = True
    moves_only = True  # the result is on the grid of a step inside

    def __init__(self, label: str, source: Quantizer, layers: Sequence[QuantLinear], backwards: bool) -> None:
        self.from_input, self.from_hidden = None, None
