"""From the user's module to a `QuantisedNetwork`: `torch.export`, one lowering rule per operation, BN folded.

The table of rules (`approx.rules.RULES`) is the list of what is supported. An operation without a rule is an
error that names it; nothing is approximated by something else. The graph is exported for any number of images, so
that reshaping says which axis holds them.
"""

import copy
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import fx, nn

from approx.layer import QuantLayer
from approx.lowering import EXPORTED_BATCH, PREFIX, Lowering, Unsupported
from approx.naming import module_path
from approx.network import QuantisedNetwork
from approx.operation import Arithmetic
from approx.operations import QuantInput
from approx.quantizer import Quantizer
from approx.rules import RULES

INPUT = "@input"  # no layer of a user can be called so


def _frozen(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode, single precision, on the CPU."""
    return copy.deepcopy(model).eval().cpu().float()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's own account of a failure off the screen; the error says it in one line."""
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*_flat_weights", category=UserWarning)  # of torch's LSTM
            yield
    finally:
        logging.disable(logging.NOTSET)


def export(model: nn.Module, example: torch.Tensor) -> torch.export.ExportedProgram:
    """`torch.export` of the model in eval mode; the model is left as it was.

    Args:
        model: the user's network.
        example: [N, ...].

    Raises:
        ValueError: the model cannot be exported; says why in one line.
    """
    try:
        with _quiet():
            images = example.detach().cpu().float()
            return torch.export.export(_frozen(model), (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ValueError(
            f"{type(model).__name__} cannot be exported for inputs of shape {tuple(example.shape)}: {reason}"
        ) from error


def capture(model: nn.Module, example: torch.Tensor) -> QuantisedNetwork:
    """The network as quantised operations, exact and not yet calibrated.

    Args:
        model: the user's network, one input and one output tensor; it is not changed.
        example: an input batch [N, C, H, W], [N, T, F], ...; its shape without N is what the network will take.

    Raises:
        ValueError: the model cannot be exported, or uses an operation without a rule (named, with its place).
    """
    exported = export(model, example[:1].repeat(EXPORTED_BATCH, *[1] * (example.dim() - 1)))
    exported.graph.eliminate_dead_code()
    lowering = Lowering(_tensors(exported))
    inputs = [
        n for n in exported.graph.nodes if n.op == "placeholder" and n.name in exported.graph_signature.user_inputs
    ]
    if len(inputs) != 1:
        raise ValueError(f"{type(model).__name__} takes {len(inputs)} inputs, expected one tensor")
    lowering.begin(inputs[0], QuantInput(INPUT, Quantizer()))
    for node in exported.graph.nodes:
        if node.op == "call_function" and not isinstance(node.meta.get("val"), torch.SymInt | None):
            _lower(lowering, node)  # what is left out counts images, or asserts something
    result = next(n for n in exported.graph.nodes if n.op == "output").args[0]
    if len(result) != 1:
        raise ValueError(f"{type(model).__name__} returns {len(result)} tensors, expected one")
    network = _finish(lowering, result[0], tuple(example.shape[1:]))
    _require_same(model, network)
    return network


def _require_same(model: nn.Module, network: QuantisedNetwork) -> None:
    """Compares the captured network with the model on random images.

    Raises:
        ValueError: they differ.
    """
    probe = torch.randn(3, *network.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), network.using(Arithmetic.FLOAT):
        wanted, got = _frozen(model)(probe), network(probe)
    largest = float(wanted[wanted.isfinite()].abs().amax()) if wanted.isfinite().any() else 0.0
    if got.shape != wanted.shape:
        raise ValueError(
            f"the network captured from {type(model).__name__} returns {list(got.shape)} for three images, the model "
            f"{list(wanted.shape)}"
        )
    if not torch.allclose(got, wanted, rtol=1e-3, atol=1e-3 * largest + 1e-6, equal_nan=True):
        difference = float((got - wanted).abs().max())
        raise ValueError(
            f"the network captured from {type(model).__name__} differs from it by {difference:.3g} "
            f"(largest output {largest:.3g}); the usual reason is an in-place operation on a tensor that is read "
            "elsewhere: use the out-of-place form"
        )


def _lower(lowering: Lowering, node: fx.Node) -> None:
    name = str(node.target).removeprefix("aten.")
    rule = RULES.get(name)
    try:
        if _foldable(lowering, node):
            return lowering.fold(node)
        if rule is None:
            raise Unsupported("no rule for it")
        if name.split(".")[0].endswith("_") and len(node.all_input_nodes[0].users) > 1:
            raise Unsupported("it changes in place a value that is read elsewhere; use the out-of-place form")
        rule(lowering, node)
    except Unsupported as error:
        raise ValueError(f"operation {node.target} ({place(node)}) cannot be quantised: {error}") from error


def _foldable(lowering: Lowering, node: fx.Node) -> bool:
    """Whether a node depends on nothing but parameters and the number of images; those of the latter are not trained.

    A parameter stretched to the number of images is left to its rule.
    """
    value = node.meta["val"]
    tensors = value if isinstance(value, list | tuple) else [value]
    inputs = [i for i in node.all_input_nodes if not isinstance(i.meta.get("val"), torch.SymInt)]
    if not all(isinstance(t, torch.Tensor) for t in tensors) or not all(lowering.is_constant(i) for i in inputs):
        return False
    stretches = str(node.target) in ("aten.expand.default", "aten.repeat.default")
    of_images = any(isinstance(size, torch.SymInt) for t in tensors for size in t.shape)
    of_images |= stretches and tensors[0].shape[0] == EXPORTED_BATCH
    return not (of_images and any(lowering.is_trained(i) for i in inputs))


def place(node: fx.Node) -> str:
    """Where in the user's model a node comes from."""
    path = module_path(node)
    return f"in {path}" if path else f"node {node.name}"


def _tensors(exported: torch.export.ExportedProgram) -> dict[str, tuple[str, torch.Tensor]]:
    """Placeholder name -> (name in the user's model, value) of parameters, buffers and constants."""
    signature = exported.graph_signature
    names = signature.inputs_to_parameters | signature.inputs_to_buffers | signature.inputs_to_lifted_tensor_constants
    values: dict[str, Any] = {**exported.state_dict, **exported.constants}
    return {node: (name, values[name]) for node, name in names.items()}


def _finish(lowering: Lowering, result: fx.Node, input_shape: tuple[int, ...]) -> QuantisedNetwork:
    lowering.graph.output(lowering.value(result))
    for node in reversed(lowering.graph.nodes):
        if node.op == "call_module" and not node.users:
            lowering.graph.erase_node(node)
    used = {str(n.target) for n in lowering.graph.nodes if n.op == "call_module"}
    operations = {name: op for name, op in lowering.operations.items() if f"{PREFIX}{name}" in used}
    last = lowering.operation(result)
    steps = [step for op in operations.values() for step in op.steps()]
    readers = [step.label for step in steps if last.output in step.sources and not step.moves_only]
    if isinstance(last, QuantInput) or readers:
        raise ValueError(f"the network's output is also read inside it, by {readers}; give it an output of its own")
    last.output.bits = 16
    root: dict[str, Any] = {f"{PREFIX}{name}": op for name, op in operations.items()}
    quantizers = {step.label: step.output for step in steps if not step.moves_only}
    if not any(isinstance(step, QuantLayer) for step in steps):
        raise ValueError("the network has no convolution or linear layer")
    return QuantisedNetwork(fx.GraphModule(root, lowering.graph), quantizers, input_shape)


def quantise(
    model: nn.Module, batches: Iterable[torch.Tensor], bits: int | Mapping[str, int] = 8, resolution: int = 8
) -> QuantisedNetwork:
    """Capture and calibrate: the exact network of 8-bit weights, in INTEGER arithmetic.

    Args:
        model: the user's network.
        batches: calibration inputs [N, C, H, W].
        bits: width of activations, as in `QuantisedNetwork.use_bits`.
        resolution: for rough circuits about 5, as in `QuantisedNetwork.calibrate`.

    Raises:
        ValueError: as `capture`, `QuantisedNetwork.use_bits` and `QuantisedNetwork.calibrate`.
    """
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise ValueError("calibration needs at least one batch; the loader yielded nothing")

    def chain() -> Iterable[torch.Tensor]:
        yield first
        yield from batches

    return capture(model, first).use_bits(bits).calibrate(chain(), resolution)
