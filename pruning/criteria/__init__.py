"""Pruning criteria: how much the network needs each unit. One algorithm per file, found by name."""

from pruning.criteria.base import Batches as Batches
from pruning.criteria.base import Criterion as Criterion
from pruning.criteria.base import Loss as Loss
from pruning.criteria.base import SetCriterion as SetCriterion
from pruning.criteria.causal import Causal as Causal
from pruning.criteria.effective_filters import EffectiveFilters as EffectiveFilters
from pruning.criteria.geometric_median import GeometricMedian as GeometricMedian
from pruning.criteria.i_spasp import ISpasp as ISpasp
from pruning.criteria.lamp import Lamp as Lamp
from pruning.criteria.magnitude import Magnitude as Magnitude
from pruning.criteria.nisp import Nisp as Nisp
from pruning.criteria.pfp import Pfp as Pfp
from pruning.criteria.random import Random as Random
from pruning.criteria.registry import criteria as criteria
from pruning.criteria.registry import criterion as criterion
from pruning.criteria.registry import register as register
from pruning.criteria.singe import Singe as Singe
from pruning.criteria.slimming import Slimming as Slimming
from pruning.criteria.slimming import scale_penalty as scale_penalty
from pruning.criteria.sosp_h import SospH as SospH
from pruning.criteria.sosp_i import SospI as SospI
from pruning.criteria.taylor import TaylorGate as TaylorGate
from pruning.criteria.taylor_activation import TaylorActivation as TaylorActivation
from pruning.criteria.taylor_norm import TaylorNorm as TaylorNorm
from pruning.criteria.taylor_second_order import TaylorSecondOrder as TaylorSecondOrder
from pruning.criteria.taylor_weight import TaylorWeight as TaylorWeight
