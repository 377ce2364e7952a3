"""Multiplier circuits: product tables, netlists, families, importers, energy per operation."""

from multipliers.builder import NetlistBuilder as NetlistBuilder
from multipliers.cell_libraries import CELL_LIBRARIES as CELL_LIBRARIES
from multipliers.cell_libraries import DEFAULT_CELLS as DEFAULT_CELLS
from multipliers.cell_libraries import IHP_SG13G2 as IHP_SG13G2
from multipliers.cell_libraries import SKY130 as SKY130
from multipliers.cells import Cell as Cell
from multipliers.cells import CellLibrary as CellLibrary
from multipliers.characterisation import Characterisation as Characterisation
from multipliers.characterisation import characterise as characterise
from multipliers.characterisation import relative_energy as relative_energy
from multipliers.default_library import default_library as default_library
from multipliers.families import FAMILIES as FAMILIES
from multipliers.families import Family as Family
from multipliers.generator import generate as generate
from multipliers.importers import import_circuits as import_circuits
from multipliers.importers import load_evoapprox as load_evoapprox
from multipliers.library import Library as Library
from multipliers.multiplier import Multiplier as Multiplier
from multipliers.netlist import Gate as Gate
from multipliers.netlist import Netlist as Netlist
from multipliers.operands import operand_values as operand_values
from multipliers.provenance import Provenance as Provenance
from multipliers.provenance import PublishedFigures as PublishedFigures
from multipliers.statistics import ErrorStatistics as ErrorStatistics
