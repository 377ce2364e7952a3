"""Selection: one multiplier per layer, out of candidates. One method per file; each returns a `Front`."""

from noise_models.selection.constrained import best_within as best_within
from noise_models.selection.constrained import cheapest_within as cheapest_within
from noise_models.selection.constrained import constrained_front as constrained_front
from noise_models.selection.exact import best_exactly as best_exactly
from noise_models.selection.exact import cheapest_exactly as cheapest_exactly
from noise_models.selection.exact import refined as refined
from noise_models.selection.front import Front as Front
from noise_models.selection.front import FrontPoint as FrontPoint
from noise_models.selection.greedy import greedy as greedy
from noise_models.selection.knapsack import knapsack as knapsack
from noise_models.selection.limits import Limits as Limits
from noise_models.selection.methods import SELECTORS as SELECTORS
from noise_models.selection.methods import Selection as Selection
from noise_models.selection.nsga2 import Evolution as Evolution
from noise_models.selection.nsga2 import nsga2 as nsga2
from noise_models.selection.qos_nets import qos_nets as qos_nets
from noise_models.selection.uniform import uniform as uniform
