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
    {library.name: library for library in (IHP_SG13G2, SKY130)}
)
"""Every cell library by name."""

DEFAULT_CELLS = IHP_SG13G2
"""What circuits are costed in unless told otherwise.

Both order circuits alike. SKY130's tables split the energy of an adder cell between its outputs, so that an AND2 costs
more than a full adder: shallow circuits of EvoApproxLib come out up to twice as dear as published. With SG13G2, which
has no adder cells, they come out at most a quarter dearer.
"""
