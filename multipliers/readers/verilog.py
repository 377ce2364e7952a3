"""Reads multipliers from structural Verilog.

The parser is our own (``tokens``, ``expression_parser``, ``instance_parser``, ``parser``), after measuring pyslang
12.1, the maintained binding of the slang compiler, on the same files (one core, medians):

- Speed: pyslang is faster where it overlaps, 0.2 ms to parse an 8x8 circuit of 150 gates and 0.7 ms to walk its tree
  from Python. From text to a checked ``Netlist`` everything here takes 5 ms, and 14 ms for 500 gates: fast enough.
- Coverage: it parses every dialect of the test fixtures, and far more. But it leaves our actual work undone: library
  cells are "unknown modules" to it, and its elaboration reported neither combinational loops, nor nets driven by two
  gates, nor nets that nothing drives. All of that would have to be written all the same.
- Safety: an expression of 50,000 terms (100 kB) ended the process with a segmentation fault, which Python cannot catch;
  1,500 randomly damaged files did no harm. Here every limit is a ``NetlistError``.
- Weight: 15 MB of compiled code and a second binary wheel, in a package that otherwise needs numpy only.

slang's evaluator served as the reference for ``expressions``: 14,740 values of random expressions, no difference.
"""

from __future__ import annotations

from pathlib import Path

from multipliers.netlist import Netlist
from multipliers.readers.elaborate import Elaborator
from multipliers.readers.errors import NetlistError
from multipliers.readers.files import pick_top, read_text
from multipliers.readers.graph import NetGraph
from multipliers.readers.parser import parse_modules
from multipliers.readers.ports import bind_ports


def read_verilog(
    path: str | Path,
    *,
    top: str | None = None,
    operands: tuple[str, str] | None = None,
    signed: bool | None = None,
) -> Netlist:
    """Read a two-operand circuit from a file of structural Verilog.

    Read are modules with old or ANSI ports, instances of modules of the file, of library cells (``cell_names``) and of
    gate keywords, and ``assign`` with bitwise, logical, conditional and adding expressions by Verilog's rules of width
    and sign; bounds may be constant expressions of ``localparam``. Pins must be as wide as what they are connected to;
    an assignment may widen, but not cut.

    Args:
        path: the file.
        top: name of the module; None takes the only one that no other instantiates.
        operands: names of the ports that are operand a and b; None looks for A and B, then a and b. The order of the
            ports never matters.
        signed: whether operands and product are two's complement; None takes the ``signed`` keyword of the operands.

    Returns:
        all gates of the flattened circuit as written, dead ones too, in topological order; nets that only carry
        another net, and constants within expressions, leave no gate.

    Raises:
        NetlistError: if the file cannot be read as such a circuit; says where, file and line.
        OSError: if it cannot be opened.
    """
    return parse_verilog(read_text(path), file=str(path), top=top, operands=operands, signed=signed)


def parse_verilog(
    text: str,
    *,
    file: str = "<text>",
    top: str | None = None,
    operands: tuple[str, str] | None = None,
    signed: bool | None = None,
) -> Netlist:
    """``read_verilog`` on a text; ``file`` is its name in messages."""
    try:
        modules = parse_modules(text)
        used = {name: {instance.cell for instance in module.instances} for name, module in modules.items()}
        vectors = {m.name for m in modules.values() if any(m.signals[port].width > 1 for port in m.ports)}
        module = modules[pick_top(used, vectors, top)]
        ports = [module.signals[name] for name in module.ports]
        a, b, product, is_signed = bind_ports(module.name, ports, operands, signed, module.line)
        graph = NetGraph()
        nets = Elaborator(modules, graph).flatten(module)
        return graph.netlist(module.name, (nets[a.name], nets[b.name]), nets[product.name], is_signed)
    except NetlistError as error:
        error.file = file
        raise
