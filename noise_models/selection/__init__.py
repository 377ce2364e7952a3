"""Selection: one multiplier per layer, out of candidates. One method per file; each returns a `Front`."""

from noise_models.selection.exact import best_exactly as best_exactly
from noise_models.selection.exact import cheapest_exactly as cheapest_exactly
from noise_models.selection.exact import refined as refined
from noise_models.selection.front import Front as Front
from noise_models.selection.front import FrontPoint as FrontPoint
from noise_models.selection.greedy import greedy as greedy
from noise_models.selection.knapsack import knapsack as knapsack
from noise_models.selection.uniform import uniform as uniform
