"""Brings circuits in from elsewhere: published libraries, netlists, product tables."""

from multipliers.importers.c_table import TableReading as TableReading
from multipliers.importers.dispatch import import_circuits as import_circuits
from multipliers.importers.netlist_folder import Reading as Reading
from multipliers.importers.outcome import Import as Import
from multipliers.importers.outcome import Mismatch as Mismatch
from multipliers.importers.outcome import Skipped as Skipped
from multipliers.importers.table_pair import load_evoapprox as load_evoapprox
