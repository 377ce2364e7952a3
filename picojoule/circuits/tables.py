"""Circuits as rows: for people on the terminal, for programs as JSON."""

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from multipliers import CELL_LIBRARIES, FAMILIES, Library, Multiplier, characterise
from multipliers.importers import Import
from multipliers.synthesis.optimise import optimise

_SHADES = " ░▒▓█"
_BLOCKS = 16


def circuit_row(circuit: Multiplier) -> dict[str, Any]:
    """Name, error and cost of one circuit."""
    s = circuit.statistics()
    return {
        "name": circuit.name,
        "signed": circuit.signed,
        "widths": [circuit.width_a, circuit.width_b],
        "mae": s.mae,
        "wce": s.wce,
        "mre": s.mre,
        "ep": s.ep,
        "bias": s.bias,
        "std": s.std,
        "sampled_pairs": s.sampled_pairs,
        "energy_relative": circuit.energy_relative,
        "energy_pj": circuit.energy_pj,
        "area_um2": circuit.area_um2,
        "delay_ns": circuit.delay_ns,
        "source": circuit.provenance.source,
        "content_hash": circuit.content_hash,
    }


def print_circuits(library: Library, console: Console) -> None:
    """One line per circuit."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in ("multiplier", "bits", "sign", "MAE", "WCE", "MRE", "EP", "energy", "area", "delay"):
        table.add_column(column, justify="left" if column == "multiplier" else "right", no_wrap=True)
    for circuit in library.values():
        s = circuit.statistics()
        about, least = ("≈ ", "≥ ") if s.sampled_pairs else ("", "")
        table.add_row(
            circuit.name,
            f"{circuit.width_a}x{circuit.width_b}",
            "signed" if circuit.signed else "unsigned",
            f"{about}{s.mae:.2f}",
            f"{least}{s.wce}",
            f"{about}{100 * s.mre:.2f} %",
            f"{about}{100 * s.ep:.2f} %",
            f"{circuit.energy_relative:.3f}",
            "" if circuit.area_um2 is None else f"{circuit.area_um2:.0f} µm²",
            "" if circuit.delay_ns is None else f"{circuit.delay_ns:.2f} ns",
        )
    console.print(table)
    console.print(f"{len(library)} circuits; energy relative to the exact multiplier in the same flow")


def family_rows() -> list[dict[str, Any]]:
    """The families: how their circuits are named, what they are, where they come from."""
    rows = []
    for name, family in FAMILIES.items():
        module = inspect.getmodule(family)
        rows.append(
            {
                "family": name,
                "signed": family.signed,
                "names": re.sub(r"\(\?P<(\w+)>.*?\)", r"{\1}", family.pattern),
                "definition": (inspect.getdoc(family) or "").partition("\n")[0],
                "source": ((module and inspect.getdoc(module)) or "").partition("\n")[0],
            }
        )
    return rows


def print_families(console: Console) -> None:
    """One line per family."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in ("name of circuits", "sign", "source"):
        table.add_column(column)
    for row in family_rows():
        sign = "s" if row["signed"] else "u"
        table.add_row(f"mul8{sign}_{row['names']}", "signed" if row["signed"] else "unsigned", row["source"])
    console.print(table)
    console.print("mulWu_ and mulWs_ for any width W, mulAxBu_ for two widths; mulWs_sm_NAME makes NAME signed")


def print_import(outcome: Import, console: Console) -> None:
    """What was left out, and which published figures are wrong."""
    for skipped in outcome.skipped:
        console.print(f"skipped {skipped}", highlight=False, soft_wrap=True)
    for mismatch in outcome.mismatches:
        console.print(f"mismatch {mismatch}", highlight=False, soft_wrap=True)
    console.print(
        f"{len(outcome.library)} circuits, {len(outcome.skipped)} skipped, "
        f"{len(outcome.mismatches)} published figures contradicted by the circuits"
    )


def details(circuit: Multiplier) -> dict[str, Any]:
    """All that is known of one circuit: every statistic, and its cost in every cell library where gates are known."""
    row = circuit_row(circuit)
    row["statistics"] = dataclasses.asdict(circuit.statistics())
    row["provenance"] = dataclasses.asdict(circuit.provenance)
    row["published"] = dataclasses.asdict(circuit.published) if circuit.published else None
    row["gates"] = optimise(circuit.netlist).gate_counts() if circuit.netlist else None
    row["cost"] = None
    if circuit.netlist is not None:
        row["cost"] = {
            name: dataclasses.asdict(characterise(circuit.netlist, cells)) for name, cells in CELL_LIBRARIES.items()
        }
    return row


MEANING = {
    "mae": "mean |e|",
    "wce": "max |e|",
    "wcre": "max |e| / |exact|, exact ≠ 0",
    "ep": "share of wrong products",
    "mre": "mean |e| / |exact|, exact ≠ 0 (EvoApproxLib lite, v2022)",
    "mse": "mean e²",
    "bias": "mean e",
    "std": "standard deviation of e, left when the bias is corrected",
    "mre_8b2017": "mean |e| / max(1, |exact|), all pairs (EvoApprox8b 2017)",
    "wcre_8b2017": "max |e| / max(1, |exact|), all pairs (EvoApprox8b 2017)",
}
_PERCENT = {"wcre", "ep", "mre", "mre_8b2017", "wcre_8b2017"}


def print_details(circuit: Multiplier, found: Mapping[str, Any], console: Console) -> None:
    """Statistics, cost and a coarse error map of one circuit."""
    kind = "signed" if circuit.signed else "unsigned"
    console.print(f"{circuit.name}: {kind} {circuit.width_a} x {circuit.width_b} bits", style="bold")
    statistics = found["statistics"]
    table = Table(header_style="bold", box=None, pad_edge=False, show_header=False)
    for name, meaning in MEANING.items():
        value = statistics[name]
        table.add_row(name, f"{100 * value:.4g} %" if name in _PERCENT else f"{value:.6g}", meaning)
    console.print(table)
    if statistics["sampled_pairs"]:
        console.print(f"estimated from {statistics['sampled_pairs']:,} operand pairs: worst cases are lower bounds")
    console.print(f"\nenergy {circuit.energy_relative:.3f} of the exact multiplier ({circuit.energy_pj:.4g} pJ)")
    for name, cost in (found["cost"] or {}).items():
        console.print(
            f"  {name}: {cost['energy_pj']:.4g} pJ (switching {cost['switching_pj']:.4g}, glitches "
            f"{cost['glitch_pj']:.4g}), {cost['area_um2']:.0f} µm², {cost['delay_ns']:.2f} ns"
        )
    if found["gates"]:
        console.print(
            "  gates after optimisation: " + ", ".join(f"{count} {kind}" for kind, count in found["gates"].items())
        )
    if circuit.published:
        figures = [f"{k} {v:g}" for k, v in found["published"].items() if isinstance(v, float)]
        console.print(f"  published ({circuit.published.source}): " + ", ".join(figures))
    console.print(f"  source: {circuit.provenance.source}; {circuit.provenance.node}")
    console.print(f"  content {circuit.content_hash}")
    if circuit.has_table and not circuit.is_exact:
        console.print("\n" + error_map_text(circuit), highlight=False)


def error_map_text(circuit: Multiplier) -> str:
    """The error map in characters: mean |e| of blocks of operand values, darkest where it is largest."""
    magnitude = by_value(np.abs(circuit.error_map()), circuit.signed).astype(float)
    rows, columns = (min(_BLOCKS, size) for size in magnitude.shape)
    blocks = magnitude.reshape(rows, magnitude.shape[0] // rows, columns, -1).mean(axis=(1, 3))
    shades = np.ceil(blocks / blocks.max() * (len(_SHADES) - 1)).astype(int)
    lines = ["".join(_SHADES[shade] * 2 for shade in line) for line in shades]
    return "\n".join(["mean |error| over operand a (down) and b (right), smallest values first", *lines])


def by_value(table: "np.ndarray[Any, Any]", signed: bool) -> "np.ndarray[Any, Any]":
    """A table indexed by bit pattern with its rows and columns in the order of operand values."""
    return np.fft.fftshift(table) if signed else table
