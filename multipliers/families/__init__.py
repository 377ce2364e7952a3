"""Multiplier families: generators of netlists with an independent arithmetic definition.

One family (with its signed variant) per module; the registry finds them.
"""

from multipliers.families._base import Family as Family
from multipliers.families.registry import FAMILIES as FAMILIES
from multipliers.families.registry import parse_circuit as parse_circuit
