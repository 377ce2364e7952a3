"""Figures of standard-cell technologies, one per module."""

from multipliers.cell_libraries.sky130 import SKY130 as SKY130
