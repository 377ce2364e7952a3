"""Pruning criteria: how much the network needs each unit. One algorithm per file, found by name."""

from pruning.criteria.base import Batches as Batches
from pruning.criteria.base import Criterion as Criterion
from pruning.criteria.base import Loss as Loss
from pruning.criteria.magnitude import Magnitude as Magnitude
from pruning.criteria.registry import criteria as criteria
from pruning.criteria.registry import criterion as criterion
from pruning.criteria.registry import register as register
from pruning.criteria.taylor import TaylorGate as TaylorGate
from pruning.criteria.taylor_weight import TaylorWeight as TaylorWeight
