"""Schedules: in which steps a network is pruned, and how long it is trained in between."""

from pruning.schedules.base import Phase as Phase
from pruning.schedules.base import Schedule as Schedule
from pruning.schedules.base import Step as Step
from pruning.schedules.base import Tune as Tune
from pruning.schedules.entwined import Entwined as Entwined
from pruning.schedules.iterative import Iterative as Iterative
from pruning.schedules.one_shot import OneShot as OneShot
from pruning.schedules.registry import schedule as schedule
from pruning.schedules.registry import schedules as schedules
from pruning.schedules.soft_to_hard import SoftToHard as SoftToHard
