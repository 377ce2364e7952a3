"""`LayerCircuit`: what makes the products of a layer. Frozen, so that a refused change leaves the layer as it was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch

from approx.difference_gradient import Planes, check_half_window, derivative_planes
from approx.operands import LayerTable, Operands, exact_table

EXACT = "exact"
Gradient = Literal["line", "straight"] | int
"""See `LayerCircuit.with_gradient`."""


@dataclass(frozen=True, eq=False)
class LayerCircuit:
    """A circuit, or one for each output channel, and how operands reach it.

    Attributes:
        name: of the circuit; of several, joined by "+".
        operands: coding of the weights.
        table: layer table, also where products are exact; of several circuits the first one's.
        exact: whether every product is the exact one.
        products: values of the table, int32 [n_w, 256]; those of several circuits one below the other.
        first_row: where in `products` the circuit of each output channel begins, int32 [O], or [1] for all of them.
        gradient: of the products, see `with_gradient`.
        derivatives: of the table along code and weight, where they are the gradient.
    """

    name: str
    operands: Operands
    table: LayerTable
    exact: bool
    products: torch.Tensor
    first_row: torch.Tensor
    gradient: Gradient = "line"
    derivatives: tuple[Planes, Planes] | None = None

    @classmethod
    def of_layer(cls, name: str, operands: Operands, table: LayerTable | None) -> Self:
        """One circuit for all channels; without a table products are exact."""
        used = table or exact_table(operands)
        exact = table is None or table.exact
        return cls(name, operands, used, exact, used.tensor(), torch.zeros(1, dtype=torch.int16))

    @classmethod
    def of_channels(cls, circuits: Mapping[str, LayerTable], operands: Operands, of_channel: Sequence[str]) -> Self:
        """A circuit of its own for every output channel.

        Args:
            circuits: tables by name; those that are used have equal operand widths.
            operands: weight coding, the same for all.
            of_channel: name of the circuit of each output channel, O of them.

        Raises:
            ValueError: a name has no table, or widths differ.
        """
        used = list(dict.fromkeys(of_channel))
        unknown = sorted(set(used) - set(circuits))
        if unknown:
            raise ValueError(f"expected circuits among {list(circuits)}, got {unknown}")
        tables = [circuits[name] for name in used]
        if len(tables) == 1:
            return cls.of_layer(used[0], operands, tables[0])
        widths = {(t.code_bits, t.weight_bits, t.offset) for t in tables}
        if len(widths) > 1:
            raise ValueError(f"the circuits of its channels differ in width or coding: {widths}")
        return cls(
            name="+".join(used),
            operands=operands,
            table=tables[0],
            exact=all(table.exact for table in tables),
            products=torch.cat([table.tensor() for table in tables]),
            first_row=len(tables[0].values)
            * torch.tensor([used.index(name) for name in of_channel], dtype=torch.int32),
        )

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self  # immutable, and shared by every copy of a network

    @property
    def mixed(self) -> bool:
        """Whether output channels have circuits of their own."""
        return len(self.products) > len(self.table.values)

    def with_gradient(self, gradient: Gradient) -> Self:
        """The same circuit with another gradient.

        Args:
            gradient: "line", that of the lines nearest to the table (`approx.line_gradient`); "straight", of the exact
                product, straight through; 0..125, smoothed differences of the table, the half window of the moving
                average before the difference (`approx.difference_gradient`); published ones are 1..64, chosen by a few
                epochs of a small network.

        Raises:
            ValueError: another gradient; or differences where output channels have circuits of their own.
        """
        if gradient in ("line", "straight"):
            return replace(self, gradient=gradient, derivatives=None)
        if not isinstance(gradient, int) or isinstance(gradient, bool):
            raise ValueError(f'gradient: expected "line", "straight" or a half window, 0..125, got {gradient!r}')
        check_half_window(gradient)
        if self.mixed:
            raise ValueError("table differences need one circuit a layer, it has several; use_gradient('line')")
        planes = None if self.exact else derivative_planes(self.table, gradient)
        return replace(self, gradient=gradient, derivatives=planes)

    def index(self, values: torch.Tensor) -> torch.Tensor:
        """Rows of `products` that belong to weight values [O, ...], int16 or int32."""
        return values + (self.first_row + self.table.offset).view(-1, *[1] * (values.dim() - 1))
