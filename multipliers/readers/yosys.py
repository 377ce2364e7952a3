"""Reads multipliers from the JSON that Yosys writes (``write_json``): gate level, word level or mapped to a library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from multipliers.netlist import Netlist
from multipliers.readers.errors import NetlistError
from multipliers.readers.files import pick_top, read_text
from multipliers.readers.graph import NetGraph
from multipliers.readers.ports import bind_ports
from multipliers.readers.yosys_design import YosysModule, load_design
from multipliers.readers.yosys_flatten import Flattener


def read_yosys_json(
    path: str | Path,
    *,
    top: str | None = None,
    operands: tuple[str, str] | None = None,
    signed: bool | None = None,
) -> Netlist:
    """Read a two-operand circuit from a file written by Yosys ``write_json``.

    Args:
        path: the file.
        top: name of the module; None takes the one marked as top, or the only one that no other instantiates.
        operands: names of the ports that are operand a and b; None looks for A and B, then a and b.
        signed: whether operands and product are two's complement; None takes the ``signed`` mark of the ports.

    Returns:
        all gates of the flattened design, in topological order; word-level cells become gates.

    Raises:
        NetlistError: if the file cannot be read as such a circuit; names the cell or net.
        OSError: if it cannot be opened.
    """
    return parse_yosys_json(read_text(path), file=str(path), top=top, operands=operands, signed=signed)


def parse_yosys_json(
    text: str,
    *,
    file: str = "<text>",
    top: str | None = None,
    operands: tuple[str, str] | None = None,
    signed: bool | None = None,
) -> Netlist:
    """``read_yosys_json`` on a text; ``file`` is its name in messages."""
    try:
        design = load_design(text)
        module = design[_top(design, top)]
        ports = [signal for signal, _ in module.ports.values()]
        a, b, product, is_signed = bind_ports(module.name, ports, operands, signed, None)
        graph = NetGraph()
        scope = Flattener(design, graph).flatten(module)
        first, second, outputs = (scope.word(module.ports[port.name][1], port.name) for port in (a, b, product))
        return graph.netlist(module.name, (first, second), outputs, is_signed)
    except NetlistError as error:
        error.file = file
        raise


def _top(design: Mapping[str, YosysModule], top: str | None) -> str:
    marked = [module.name for module in design.values() if module.is_top]
    if top is None and len(marked) == 1:
        return marked[0]
    modules = [module for module in design.values() if not module.is_box]
    used = {module.name: {cell.kind for cell in module.cells} for module in modules}
    vectors = {m.name for m in modules if any(signal.width > 1 for signal, _ in m.ports.values())}
    return pick_top(used, vectors, top)
