"""One circuit as a file for other tools."""

from pathlib import Path

from multipliers import Library, Multiplier
from multipliers.writers.c_header import write_c_header
from multipliers.writers.memory_hex import write_memory_hex
from multipliers.writers.verilog import write_verilog
from picojoule.errors import UserError
from picojoule.files import write_text

_FORMATS = {".h": "C header", ".v": "Verilog", ".hex": "$readmemh", ".mem": "$readmemh", ".npz": "library"}


def check_format(path: Path) -> None:
    """Refuse a file whose ending names no format."""
    if path.suffix not in _FORMATS:
        known = ", ".join(f"{ending} ({name})" for ending, name in _FORMATS.items())
        raise UserError(f"{path}: expected one of {known}; got {path.suffix or 'no ending'!r}")


def export_circuit(circuit: Multiplier, path: Path) -> None:
    """Write the circuit in the format of the file's ending; nothing is left behind when it fails.

    Raises:
        UserError: the format is unknown, or Verilog is wanted of a circuit whose gates are not known.
    """
    check_format(path)
    if path.suffix == ".npz":
        Library([circuit]).save(path)
        return
    if path.suffix == ".h":
        text = write_c_header(circuit)
    elif path.suffix == ".v":
        if circuit.netlist is None:
            raise UserError(
                f"{circuit.name}: only its product table is known, not its gates; export .hex or .h instead"
            )
        text = write_verilog(circuit.netlist)
    else:
        text = write_memory_hex(circuit)
    write_text(path, text)
