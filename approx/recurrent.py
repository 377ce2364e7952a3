"""`QuantLSTM` and `QuantGRU`: one layer in one direction, a loop over the steps of a sequence.

They are made of other operations, each with its quantizer: two layers with weights, which take circuits by the names
of their parameters (`lstm.weight_ih_l0`), gates as tables, products value by value. What a cell carries from step to
step has 16 bits, everything else 8. Products of gates take no circuit.
"""

from abc import abstractmethod

import torch

from approx.addition import QuantAdd
from approx.linear import QuantLinear
from approx.lookup import QuantLookup
from approx.operation import Operation
from approx.product import QuantProduct
from approx.product_sum import QuantProductSum
from approx.quantizer import Quantizer
from approx.regrid import QuantRegrid

STATE_BITS = 16
Named = tuple[str, tuple[torch.Tensor, torch.Tensor]]
"""Name of a weight, and weight and bias."""


class QuantRecurrent(Operation):
    """[N, T, F] -> hidden states [N, T, H], from zero states. Abstract.

    Attributes:
        from_input, from_hidden: the layers with weights; their outputs are those of all gates.
        backwards: whether the last step comes first.
    """

    def __init__(self, label: str, source: Quantizer, layers: tuple[Named, Named], backwards: bool) -> None:
        super().__init__(label, (source,), Quantizer())
        (input_name, of_input), (hidden_name, of_hidden) = layers
        self.from_input = QuantLinear(input_name, source, Quantizer(), of_input)
        self.from_hidden = QuantLinear(hidden_name, self.output, Quantizer(), of_hidden)
        self.backwards = backwards

    @property
    def moves_only(self) -> bool:
        """The last operation of a step has set the grid."""
        return True

    def real(self, *inputs: torch.Tensor) -> torch.Tensor:
        steps = list(self.from_input(inputs[0]).unbind(1))
        hidden = steps[0].new_zeros(steps[0].shape[0], self.from_hidden.weight.shape[1])
        state, seen = hidden, []
        for x in reversed(steps) if self.backwards else steps:
            hidden, state = self.step(x, hidden, state)
            seen.append(hidden)
        return torch.stack(seen[::-1] if self.backwards else seen, 1)

    def integer(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.real(*inputs)  # the operations inside compute integers

    @abstractmethod
    def step(self, x: torch.Tensor, hidden: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Next hidden [N, H] and state [N, H]; x [N, G * H] is the input's part of the gates."""


class QuantLSTM(QuantRecurrent):
    """Long short-term memory (Hochreiter, Schmidhuber 1997) as `torch.nn.LSTM` has it; the state is the cell."""

    def __init__(self, label: str, source: Quantizer, layers: tuple[Named, Named], backwards: bool) -> None:
        super().__init__(label, source, layers, backwards)
        parts = self.from_input.output, self.from_hidden.output
        self.sum = QuantAdd(f"{label}.sum", parts, Quantizer())
        self.gate = QuantLookup(f"{label}.gate", self.sum.output, Quantizer(), torch.sigmoid)
        self.candidate = QuantLookup(f"{label}.candidate", self.sum.output, Quantizer(), torch.tanh)
        gate, state = self.gate.output, Quantizer(STATE_BITS)
        self.cell = QuantProductSum(f"{label}.cell", (gate, state, gate, self.candidate.output), state)
        self.narrow = QuantRegrid(f"{label}.narrow", state, Quantizer())
        self.squash = QuantLookup(f"{label}.squash", self.narrow.output, Quantizer(), torch.tanh)
        self.hidden = QuantProduct(f"{label}.hidden", (gate, self.squash.output), self.output)

    def step(self, x: torch.Tensor, hidden: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        enter, forget, candidate, leave = self.sum(x, self.from_hidden(hidden)).chunk(4, -1)
        state = self.cell(self.gate(forget), state, self.gate(enter), self.candidate(candidate))
        return self.hidden(self.gate(leave), self.squash(self.narrow(state))), state


class QuantGRU(QuantRecurrent):
    """Gated recurrent unit (Cho et al. 2014) as `torch.nn.GRU` has it; the state is the hidden one, in more bits."""

    def __init__(self, label: str, source: Quantizer, layers: tuple[Named, Named], backwards: bool) -> None:
        super().__init__(label, source, layers, backwards)
        parts = self.from_input.output, self.from_hidden.output
        self.sum = QuantAdd(f"{label}.sum", parts, Quantizer())
        self.gate = QuantLookup(f"{label}.gate", self.sum.output, Quantizer(), torch.sigmoid)
        self.renew = QuantLookup(f"{label}.renew", self.sum.output, Quantizer(), _one_minus_sigmoid)
        self.reset = QuantProduct(f"{label}.reset", (self.gate.output, parts[1]), Quantizer())
        self.total = QuantAdd(f"{label}.total", (parts[0], self.reset.output), Quantizer())
        self.candidate = QuantLookup(f"{label}.candidate", self.total.output, Quantizer(), torch.tanh)
        state = Quantizer(STATE_BITS)
        factors = self.gate.output, state, self.renew.output, self.candidate.output
        self.blend = QuantProductSum(f"{label}.blend", factors, state)
        self.hidden = QuantRegrid(f"{label}.hidden", state, self.output)

    def step(self, x: torch.Tensor, hidden: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, both = self.from_hidden(hidden), 2 * hidden.shape[1]
        reset, keep = self.sum(x[:, :both], y[:, :both]).chunk(2, 1)
        candidate = self.candidate(self.total(x[:, both:], self.reset(self.gate(reset), y[:, both:])))
        state = self.blend(self.gate(keep), state, self.renew(keep), candidate)
        return self.hidden(state), state


def _one_minus_sigmoid(x: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(-x)
