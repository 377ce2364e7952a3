"""Running a traced network's graph again: other inputs, other tensors, results edited on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from pruning.trace import Inputs, Trace

Edit = Callable[[fx.Node, Any], Any]


def replay(
    traced: Trace,
    inputs: Inputs,
    *,
    edit: Edit | None = None,
    values: Mapping[str, Tensor] | None = None,
) -> tuple[Any, ...]:
    """Run the graph.

    Args:
        traced: the network.
        inputs: one tensor per input, any batch size.
        edit: called with every operation and its result; what it returns takes the result's place.
        values: tensors to use instead of the module's own (qualified name -> tensor), e.g. in fp64.

    Returns:
        The flattened outputs of the network.
    """
    signature = traced.program.graph_signature
    table = traced.values() if values is None else values
    lifted = {**traced.tensors(), **signature.inputs_to_lifted_tensor_constants}
    queue = iter(inputs)
    arguments = [
        table[lifted[node.name]] if node.name in lifted else next(queue)
        for node in traced.program.graph.nodes
        if node.op == "placeholder"
    ]
    own = traced.values()
    retyped = {own[name].dtype: value.dtype for name, value in table.items() if value.is_floating_point()}
    result = _Replay(traced.program.graph_module, edit, retyped).run(*arguments)
    return tuple(result)


class _Replay(fx.Interpreter):
    """Interpreter that lets `edit` replace results and skips the exporter's assertions (they bake dtypes).

    Tensors made from nothing (`zeros`) have baked dtypes too; they follow the parameters: old dtype -> new.
    """

    def __init__(self, module: fx.GraphModule, edit: Edit | None, retyped: Mapping[torch.dtype, torch.dtype]) -> None:
        super().__init__(module)
        self._edit, self._retyped = edit, retyped

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if kwargs.get("dtype") in self._retyped and not any(isinstance(value, Tensor) for value in args):
            kwargs = {**kwargs, "dtype": self._retyped[kwargs["dtype"]]}
        return super().call_function(target, args, kwargs)

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_function" and str(n.target).startswith("aten._assert"):
            return None
        value = super().run_node(n)
        return value if self._edit is None or n.op == "output" else self._edit(n, value)
