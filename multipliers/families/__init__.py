"""Multiplier families: generators of netlists with an independent arithmetic definition."""

from multipliers.families._base import Family as Family
from multipliers.families.broken_array import BrokenArray as BrokenArray
from multipliers.families.drum import Drum as Drum
from multipliers.families.exact import Exact as Exact
from multipliers.families.exact import ExactSigned as ExactSigned
from multipliers.families.mitchell import Mitchell as Mitchell
from multipliers.families.perforated import Perforated as Perforated
from multipliers.families.registry import FAMILIES as FAMILIES
from multipliers.families.registry import parse_circuit as parse_circuit
from multipliers.families.sign_magnitude import SignMagnitude as SignMagnitude
from multipliers.families.truncated import TruncatedColumns as TruncatedColumns
from multipliers.families.truncated import TruncatedOperands as TruncatedOperands
from multipliers.families.truncated_signed import TruncatedColumnsSigned as TruncatedColumnsSigned
from multipliers.families.truncated_signed import TruncatedOperandsSigned as TruncatedOperandsSigned
from multipliers.families.underdesigned import Underdesigned as Underdesigned
