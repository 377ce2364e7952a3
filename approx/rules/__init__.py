"""One rule per ATen operation: how it becomes a quantised operation. The tables are what is supported.

A new operation is one function of (`Lowering`, exported node) in one of these files, or in a new one named here.
"""

from collections.abc import Callable

from torch import fx

from approx.lowering import Lowering
from approx.rules import activations, attention, functions, joining, layers, moving, pooling, rearranging, recurrent

Rule = Callable[[Lowering, fx.Node], None]

RULES: dict[str, Rule] = {
    name: rule
    for part in (layers, activations, functions, attention, joining, pooling, rearranging, recurrent, moving)
    for name, rule in part.RULES.items()
}
