"""The traced network: a functional ATen graph of the user's module.

`torch.export` is the source of truth for which channel goes where (design.md, decision 4). The graph is
made functional (`pruning.functional`), so an edited value can never be reached through an alias, and the
first axis of every input is left dynamic, so batches of any size replay.
"""

from __future__ import annotations

import copy
import io
import logging
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram

from pruning.functional import functional

Inputs = tuple[Tensor, ...]


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
        with preserved_rng(), torch.no_grad(), _quiet():
            program = functional(torch.export.export(twin, inputs, dynamic_shapes=shapes))
    except Exception as error:  # the exporter raises many unrelated types; all mean "cannot be exported"
        _require_accepted(model, inputs)
        raise ValueError(
            f"{type(model).__name__} cannot be exported, so its channel groups are unknown and nothing was "
            f"pruned{_place(error)}. torch.export says: {_reason(error)}. Rewrite that operation (control flow that "
            f"depends on data is the usual cause), or prune the submodule that does not contain it."
        ) from error
    return Trace(twin, program, inputs)


def _require_accepted(model: nn.Module, inputs: Inputs) -> None:
    """Refuses inputs that the network itself does not take.

    Raises:
        ValueError: what was given, and what the network says to it.
    """
    try:
        with preserved_rng(), torch.no_grad():
            copy.deepcopy(model).eval()(*inputs)
    except Exception as error:  # the user's own code may raise anything
        given = ", ".join(f"{value.dtype} {list(value.shape)}" for value in inputs)
        floats = {str(p.dtype) for p in model.parameters() if p.is_floating_point()}
        raise ValueError(
            f"example_input: {type(model).__name__}, whose parameters are {', '.join(sorted(floats))}, does not take "
            f"({given}): {_reason(error)}. Give inputs of the shape and dtype that it takes."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's warnings, and the graphs it writes to standard error before it raises, are not for our users."""
    noisy = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = noisy.level
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        noisy.setLevel(logging.ERROR)
        try:
            yield
        finally:
            noisy.setLevel(level)


def _reason(error: Exception) -> str:
    """First line of a message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:400].rstrip(".")


def _place(error: Exception) -> str:
    """Where the user's code was when it failed: ": net.py, line 8: `if y.sum() > 0:`"; empty where it is not known."""
    libraries = [str(Path(str(package)).parent) for package in (torch.__file__, __file__)]
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.line and not f.filename.startswith((*libraries, "<"))]
    return f": {own[-1].filename}, line {own[-1].lineno}: `{own[-1].line}`" if own else ""


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


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Restore the CPU and accelerator random state on exit."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield
