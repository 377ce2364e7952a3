"""Figures of standard-cell technologies, one per module.

All are read from the tables of the cells of drive strength 1, interpolated bilinearly at 50 ps input slew. Delay is
the line through the loads of 1 and 8 inverter pins; at 4 pins it lies up to 2.4 % below the tables (nine SKY130 cells
compared). Side conditions of a pin or arc are averaged first, so that every pin and arc counts once.
"""

from collections.abc import Mapping
from types import MappingProxyType

from multipliers.cell_libraries.ihp_sg13g2 import IHP_SG13G2 as IHP_SG13G2
from multipliers.cell_libraries.sky130 import SKY130 as SKY130
from multipliers.cells import CellLibrary

CELL_LIBRARIES: Mapping[str, CellLibrary] = MappingProxyType(
    {library.name: library for library in (SKY130, IHP_SG13G2)}
)
"""Every cell library by name."""
