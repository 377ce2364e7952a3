"""Cost of circuits: area, delay and energy per operation, by one flow for circuits of any origin."""

from multipliers.characterisation.costing import costed as costed
from multipliers.characterisation.costing import relative_energy as relative_energy
from multipliers.characterisation.flow import Characterisation as Characterisation
from multipliers.characterisation.flow import characterise as characterise
