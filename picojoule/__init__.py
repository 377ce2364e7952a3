"""picojoule: approximate multipliers, pruning and compilation for small devices, with an account of every picojoule.

The verbs work alone, on your own `nn.Module` and `DataLoader`; see `picojoule.verbs`.
"""

from picojoule.verbs import approximate as approximate
from picojoule.verbs import compile as compile
from picojoule.verbs import energy as energy
from picojoule.verbs import quantise as quantise
from picojoule.verbs import retrain as retrain
from picojoule.verbs import select as select
from picojoule.verbs import trace as trace
from pruning import prune as prune
