"""What standard cells cost: area, switching energy, pin load and delay. Figures lie in ``cell_libraries``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """Cost of one cell at drive strength 1.

    Attributes:
        area_um2: layout area.
        energy_fj: internal energy per output toggle (mean of rise and fall and of input pins; 50 ps input
            slew, load of two inverters), without the energy of the load.
        pin_ff: mean capacitance of one input pin.
        delay_ps: delay from any input to any output without load (mean over arcs and edges), ps.
        slope_ps_per_ff: what a load adds to it, ps/fF.
    """

    area_um2: float
    energy_fj: float
    pin_ff: float
    delay_ps: float
    slope_ps_per_ff: float


@dataclass(frozen=True, eq=False, repr=False)
class CellLibrary:
    """Figures of the cells of one technology.

    Attributes:
        name: short name, e.g. ``"SKY130"``.
        node: technology and supply as told to users.
        supply_v: supply voltage, V.
        cells: gate kind -> cost. Kinds without an entry cannot be characterised with this library.
        output_load_ff: load on every product bit (two inverter pins).
        attribution: source and licence of the figures.
    """

    name: str
    node: str
    supply_v: float
    cells: Mapping[str, Cell]
    output_load_ff: float
    attribution: str

    def __repr__(self) -> str:
        return f"CellLibrary({self.name!r}, {self.node!r}, {len(self.cells)} cells)"

    def cell(self, kind: str) -> Cell:
        """Cost of a gate kind.

        Raises:
            ValueError: if the library has no figures for it.
        """
        if kind not in self.cells:
            raise ValueError(
                f"cell library {self.name} has no figures for {kind}; it covers {', '.join(self.cells)}: "
                "map the netlist to those kinds first"
            )
        return self.cells[kind]
