"""The traced network: a functional ATen graph of the user's module, and a way to run that graph again.

`torch.export` is the source of truth for which channel goes where (design.md, decision 4). The graph is
made functional (`pruning.functional`), so an edited value can never be reached through an alias, and the
first axis of every input is left dynamic, so batches of any size replay.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram

from pruning.functional import functional

Inputs = tuple[Tensor, ...]
Edit = Callable[[fx.Node, Any], Any]


@dataclass(frozen=True, eq=False)
class Trace:
    """A network as a functional graph.

    Attributes:
        model: evaluation-mode copy of the user's module; the graph's parameters are its tensors.
        program: the exported program; `program.graph` is functional ATen.
        inputs: the example inputs used, each [N, ...] with N >= 2.
    """

    model: nn.Module
    program: ExportedProgram
    inputs: Inputs

    @property
    def batch(self) -> int:
        """Number of examples in `inputs`."""
        return int(self.inputs[0].shape[0])

    def tensors(self) -> dict[str, str]:
        """Placeholder name -> qualified name, for every parameter and buffer of the graph."""
        signature = self.program.graph_signature
        return {**signature.inputs_to_parameters, **signature.inputs_to_buffers}

    def values(self) -> dict[str, Tensor]:
        """Qualified name -> tensor, for everything the graph lifts out of the module (constants too)."""
        constants = {k: v for k, v in self.program.constants.items() if isinstance(v, Tensor)}
        return {**constants, **tensors_of(self.model)}

    def data(self) -> set[fx.Node]:
        """Operations whose results depend on the network's input, and the inputs themselves."""
        found = set[fx.Node]()
        for node in self.program.graph.nodes:
            is_input = node.op == "placeholder" and node.name in self.program.graph_signature.user_inputs
            if is_input or any(entry in found for entry in node.all_input_nodes):
                found.add(node)
        return found


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer of a module by qualified name; a tied tensor appears under each name."""
    named = dict(model.named_parameters(remove_duplicate=False))
    return {**named, **dict(model.named_buffers(remove_duplicate=False))}


def trace(model: nn.Module, example_input: Tensor | Inputs) -> Trace:
    """Export a copy of `model` in evaluation mode; the module itself, its mode and the RNG are untouched.

    Args:
        model: the network.
        example_input: a tensor [N, ...] or a tuple of them; axis 0 is the batch. A batch of one is doubled,
            because an exporter treats a size of one as a constant.

    Raises:
        ValueError: the example is no tensor, or the network cannot be exported (the reason is named).
    """
    inputs = as_inputs(example_input)
    twin = copy.deepcopy(model).eval()
    shapes = tuple({0: Dim.AUTO} for _ in inputs)
    try:
        with preserved_rng(), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = functional(torch.export.export(twin, inputs, dynamic_shapes=shapes))
    except Exception as error:  # the exporter raises many unrelated types; all mean "cannot be exported"
        raise ValueError(
            f"{type(model).__name__} cannot be exported, so its channel groups are unknown and nothing was "
            f"pruned. torch.export says: {_reason(error)}. Rewrite that operation (data-dependent control "
            f"flow is the usual cause), or prune the submodule that does not contain it."
        ) from error
    return Trace(twin, program, inputs)


def _reason(error: Exception) -> str:
    """First informative lines of an exporter's message, with the user's source line where it names one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " | ".join(lines[:2]) if lines else "no message"
    return f"{type(error).__name__}: {text}"[:600].rstrip(".")


def as_inputs(example_input: Tensor | Inputs) -> Inputs:
    """Checked example inputs as a tuple, with a batch of at least two.

    Raises:
        ValueError: not tensors with a batch axis, or the batch sizes differ.
    """
    inputs = (example_input,) if isinstance(example_input, Tensor) else tuple(example_input)
    for value in inputs:
        if not isinstance(value, Tensor) or value.ndim < 1:
            got = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"example_input: expected a tensor [N, ...] or a tuple of them, got {got}")
    sizes = {int(value.shape[0]) for value in inputs}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"example_input: expected one batch size >= 1 on axis 0, got {sorted(sizes)}")
    if sizes == {1}:
        inputs = tuple(torch.cat([value, value]) for value in inputs)
    return tuple(value.detach() for value in inputs)


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


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Restore the CPU and accelerator random state on exit."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield
