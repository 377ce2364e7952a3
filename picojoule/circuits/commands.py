"""`picojoule multipliers ...`: list, show, generate, import, export, choose and plot circuits."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from picojoule.errors import UserError

app = typer.Typer(no_args_is_help=True, help="The circuits to choose from.", rich_markup_mode=None)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object as the last line of standard output.")]
LibraryOption = Annotated[
    str,
    typer.Option(help='"default" (shipped), "evoapprox", a saved library, or a folder of table pairs.'),
]
OutOption = Annotated[Path, typer.Option(help="File to write, .npz; for --library of every command.")]
PictureOption = Annotated[Path | None, typer.Option("--map", help="Error map as a picture: .png, .svg or .html.")]
SignedOption = Annotated[bool | None, typer.Option("--signed/--unsigned", help="Only these.")]
WidthOption = Annotated[str | None, typer.Option(help='Only this width: "8x8", "8x4"; one number for both.')]
MaeOption = Annotated[float | None, typer.Option(help="Largest mean absolute error.")]
EnergyOption = Annotated[float | None, typer.Option(help="Largest energy, relative to the exact multiplier.")]
ErrorOption = Annotated[str, typer.Option(help="Error figure: mae, wce, mre, mse, ep, bias, ...")]


@app.command("ls", epilog="Example: picojoule multipliers ls --unsigned --max-mae 200")
def ls(
    library: LibraryOption = "default",
    signed: SignedOption = None,
    width: WidthOption = None,
    max_mae: MaeOption = None,
    max_energy: EnergyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the circuits with error and energy."""
    from picojoule.circuits.choice import chosen
    from picojoule.circuits.tables import circuit_row, print_circuits
    from picojoule.tables import console

    found = chosen(library, signed=signed, width=width, max_mae=max_mae, max_energy=max_energy)
    print_circuits(found, console())
    _emit({"multipliers": [circuit_row(circuit) for circuit in found.values()]}, as_json)


@app.command(epilog="Example: picojoule multipliers show mul8u_drum4 --map drum4.png")
def show(
    circuit: Annotated[str, typer.Argument(help="A circuit of the library, a generated name, or a netlist file.")],
    library: LibraryOption = "default",
    picture: PictureOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything known of one circuit: error statistics, cost in each technology, error map."""
    from picojoule.circuits.choice import one_circuit
    from picojoule.circuits.pictures import check_picture, draw_error_map
    from picojoule.circuits.tables import details, print_details
    from picojoule.tables import console

    if picture is not None:
        check_picture(picture)
    found = one_circuit(circuit, library)
    values = details(found)
    print_details(found, values, console())
    if picture is not None:
        draw_error_map(found, picture)
        print(f"error map: {picture}")
    _emit(values, as_json)


@app.command(
    epilog="Examples: picojoule multipliers generate mul8u_drum4 mul16s_sm_roba --out mine.npz; "
    "picojoule multipliers generate --families"
)
def generate(
    names: Annotated[list[str] | None, typer.Argument(help="Circuit names, e.g. mul8u_drum4, mul8x4u_trunc3.")] = None,
    out: Annotated[Path | None, typer.Option(help="Library to write, .npz.")] = None,
    sweep: Annotated[
        list[str] | None, typer.Option(help='Every family with every parameter at a width: "8x8u", "8x4s".')
    ] = None,
    cells: Annotated[str, typer.Option(help="Technology that circuits are costed in.")] = "IHP SG13G2",
    families: Annotated[bool, typer.Option("--families", help="List the families and their names.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Generate circuits from their published definitions, costed by one flow."""
    from picojoule.circuits.choice import generated
    from picojoule.circuits.tables import circuit_row, family_rows, print_circuits, print_families
    from picojoule.tables import console

    if families:
        print_families(console())
        _emit({"families": family_rows()}, as_json)
        return
    _check_library_file(out)
    library = generated(names or [], sweep or [], cells)
    print_circuits(library, console())
    if out is not None:
        library.save(out)
        print(f"library: {out}")
    _emit({"multipliers": [circuit_row(circuit) for circuit in library.values()]}, as_json)


@app.command("import", epilog="Example: picojoule multipliers import evoapproxlib --out evo.npz")
def import_(
    path: Annotated[Path, typer.Argument(help="EvoApproxLib checkout, netlist(s), .npz + .csv pair, or C header.")],
    out: OutOption,
    source: Annotated[str | None, typer.Option(help="Name of the release; kept with every circuit.")] = None,
    top: Annotated[str | None, typer.Option(help="Top module, where a file has several.")] = None,
    signed: Annotated[bool | None, typer.Option("--signed/--unsigned", help="Where names do not tell.")] = None,
    operands: Annotated[str | None, typer.Option(help="Ports of operand a and b, e.g. X,Y.")] = None,
    energy: Annotated[float | None, typer.Option(help="Of a C table: energy relative to exact.")] = None,
    by_value: Annotated[bool, typer.Option("--by-value", help="Signed C tables begin at -128, not 0.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring circuits in; published error figures are checked against the circuits."""
    from multipliers.importers import Reading, TableReading, import_circuits
    from picojoule.circuits.choice import operand_ports
    from picojoule.circuits.tables import circuit_row, print_circuits, print_import
    from picojoule.progress import progress
    from picojoule.tables import console

    _check_library_file(out)
    reading = Reading(source, signed, operand_ports(operands), top)
    table = None if energy is None else TableReading(energy, signed, by_value, source)
    with progress("import") as step:
        outcome = import_circuits(path, reading, table, lambda done, total, name: step(f"{done}/{total} {name}"))
    print_circuits(outcome.library, console())
    print_import(outcome, console())
    outcome.library.save(out)
    print(f"library: {out}")
    _emit(
        {
            "multipliers": [circuit_row(circuit) for circuit in outcome.library.values()],
            "mismatches": [str(mismatch) for mismatch in outcome.mismatches],
            "skipped": [str(skipped) for skipped in outcome.skipped],
        },
        as_json,
    )


@app.command(epilog="Example: picojoule multipliers export mul8u_drum4 --out drum4.v")
def export(
    circuit: Annotated[str, typer.Argument(help="A circuit of the library, a generated name, or a netlist file.")],
    out: Annotated[Path, typer.Option(help="C header (.h), Verilog (.v), $readmemh (.hex, .mem) or library (.npz).")],
    library: LibraryOption = "default",
) -> None:
    """Write one circuit for a simulator, a synthesis tool or a memory."""
    from picojoule.circuits.choice import one_circuit
    from picojoule.circuits.export import check_format, export_circuit

    check_format(out)
    export_circuit(one_circuit(circuit, library), out)
    print(out)


@app.command(epilog="Example: picojoule multipliers pareto --library evoapprox --unsigned --error mre")
def pareto(
    library: LibraryOption = "default",
    error: ErrorOption = "mae",
    cost: Annotated[str, typer.Option(help="energy_relative, energy_pj, area_um2 or delay_ns.")] = "energy_relative",
    signed: SignedOption = None,
    width: WidthOption = None,
    out: Annotated[Path | None, typer.Option(help="Library to write, .npz.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The circuits that no other of their width and sign beats in both error and cost, cheapest first."""
    from picojoule.circuits.choice import chosen
    from picojoule.circuits.tables import circuit_row, print_circuits
    from picojoule.tables import console

    _check_library_file(out)
    front = chosen(library, signed=signed, width=width).pareto(error, cost)
    print_circuits(front, console())
    if out is not None:
        front.save(out)
        print(f"library: {out}")
    _emit({"multipliers": [circuit_row(circuit) for circuit in front.values()]}, as_json)


@app.command(epilog="Example: picojoule multipliers plot --library default --library evoapprox --out circuits.png")
def plot(
    out: Annotated[Path, typer.Option(help="Picture: .png, .svg or .html.")],
    library: Annotated[list[str] | None, typer.Option(help="Libraries to compare.")] = None,
    error: ErrorOption = "mae",
    signed: Annotated[bool, typer.Option("--signed/--unsigned", help="Which circuits.")] = False,
    width: Annotated[str, typer.Option(help='Which width: "8x8".')] = "8x8",
    max_mae: MaeOption = None,
    max_energy: EnergyOption = None,
) -> None:
    """Error against energy, with the front of every library."""
    from picojoule.circuits.choice import chosen
    from picojoule.circuits.pictures import check_picture, draw_libraries

    check_picture(out)
    bounds: dict[str, Any] = {"signed": signed, "width": width, "max_mae": max_mae, "max_energy": max_energy}
    draw_libraries({name: chosen(name, **bounds) for name in library or ["default"]}, error, out)
    print(out)


def _check_library_file(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix != ".npz":
        raise UserError(f"{out}: a library is written as .npz, got {out.suffix or 'no ending'!r}")
    out.parent.mkdir(parents=True, exist_ok=True)  # before hours of work, not after


def _emit(values: Any, as_json: bool) -> None:
    if as_json:
        print(json.dumps(values), flush=True)
