"""The selection problem with shared circuits as a mixed-integer programme, solved exactly.

    minimise one quantity, the others bounded
    x_lc in {0, 1}: layer l takes candidate c,       sum_c x_lc = 1 for each layer
    z_m in {0, 1}: circuit m is there,               sum of x_lc over layer l's candidates with circuit m <= z_m
    energy, degradation: sums over x;  circuits: sum of z;  area: sum over z

Source: papers/approximate_networks.md §8 (x_lm <= z_m, sum of z_m <= k). With all candidates of a circuit on the left
side, not each x by itself, the relaxation is that of a p-median problem, so tight that branching is rare.

Degradations span ten decades or more and the solver works to 1e-9. So candidates that break a bound even with the best
of every other layer are left out, what the best of each layer needs is subtracted, rows and cost are scaled to what
remains, and an optimum far below the scale of the cost becomes the next scale. What comes back is checked against the
bounds without any rounding; a choice that only the solver's tolerance let through is cut off, and the search goes on.
"""

import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from noise_models.candidates import Candidate
from noise_models.prediction import FloatArray
from noise_models.selection.binary_programme import BinaryProgramme, IntArray
from noise_models.selection.front import FrontPoint
from noise_models.selection.limits import Bounds, keeps, quantities

Rows = Mapping[str, list[Candidate]]
_SUMS = ("energy", "degradation")
_COST_SCALE = 1e3  # makes the solver's absolute tolerance 1e-12 of the cost's scale
_COARSE = 1e-2  # an optimum below this share of the cost's scale is looked at again on its own scale
_ROUNDING = 1e-12  # relative: sums in different order differ by less
_CUTS = 100


def least(rows: Rows, area: Mapping[str, float], quantity: str, bounds: Bounds) -> FrontPoint | None:
    """The choice with the least of a quantity within bounds; None where nothing is within.

    Args:
        rows: candidates of each layer.
        area: circuit -> um^2; may be empty when areas play no part.
        quantity: one of `limits.QUANTITIES`.
        bounds: quantity -> upper bound.

    Raises:
        ValueError: the solver gives up, or cannot tell a bound from what is just beyond it.
    """
    found, settled = _solve(rows, area, quantity, bounds)
    while found is not None and not settled:
        reached = quantities(found, area)[quantity]
        closer, settled = _solve(rows, area, quantity, {**bounds, quantity: reached})
        if closer is None or quantities(closer, area)[quantity] >= reached:
            break
        found = closer
    return found


def _solve(rows: Rows, area: Mapping[str, float], quantity: str, bounds: Bounds) -> tuple[FrontPoint | None, bool]:
    """A choice with the least of a quantity, and whether it is large enough on the scale used to be told from less."""
    fitting = _fitting(rows, bounds)
    if fitting is None:
        return None, True
    columns = _Columns(fitting, area)
    cost, scale = columns.cost(quantity, bounds)
    programme = BinaryProgramme(cost * (_COST_SCALE / scale))
    columns.add_rows(programme, bounds)
    for _ in range(_CUTS):
        solution = programme.solve()
        if solution is None:
            return None, True
        picks = columns.picks(solution)
        point = FrontPoint.of(dict(zip(fitting, (columns.candidates[i] for i in picks), strict=True)))
        if keeps(point, bounds, area):
            return point, quantity not in _SUMS or not 0 < cost[picks].sum() < _COARSE * scale
        programme.at_most(len(picks) - 1.0, picks, np.ones(len(picks)))
    raise ValueError(f"too many choices lie within 1e-9 beyond the bounds {dict(bounds)}; move a bound by 1e-6 of it")


def _least_of(rows: Rows, quantity: str) -> list[float]:
    return [min(getattr(c, quantity) for c in row) for row in rows.values()]


def _room(rows: Rows, quantity: str, bounds: Bounds) -> float:
    """What a bound leaves for the layers to take more than their least; negative when it cannot be kept."""
    return bounds[quantity] * (1 + _ROUNDING) - math.fsum(_least_of(rows, quantity))


def _fitting(rows: Rows, bounds: Bounds) -> Rows | None:
    """The candidates that keep each bound when all other layers need their least; None when a layer has none."""
    before = -1
    while before != (count := sum(map(len, rows.values()))):  # what one bound leaves out may narrow the other
        before = count
        for quantity in (q for q in _SUMS if q in bounds):
            room, lowest = _room(rows, quantity, bounds), _least_of(rows, quantity)
            pairs = zip(rows.items(), lowest, strict=True)
            rows = {name: [c for c in row if getattr(c, quantity) - low <= room] for (name, row), low in pairs}
            if not all(rows.values()):
                return None
    return rows


class _Columns:
    """The variables: an x for each candidate, then a z for each circuit.

    Attributes:
        candidates: of all layers, in one list.
        layers: indices of each layer's x.
        circuits: names.
    """

    def __init__(self, rows: Rows, area: Mapping[str, float]) -> None:
        self.rows = rows
        self.candidates = [c for row in rows.values() for c in row]
        ends = np.cumsum([0, *(len(row) for row in rows.values())])
        self.layers = [np.arange(a, b) for a, b in pairwise(ends)]
        self.circuits = list(dict.fromkeys(name for c in self.candidates for name in c.choice.circuits))
        self.of_circuits = {
            "circuits": np.ones(len(self.circuits)),
            "area_um2": np.array([area.get(name, 0.0) for name in self.circuits]),
        }

    def needs(self, quantity: str) -> FloatArray:
        """What each variable adds to a quantity, float64 [x and z]; sums over layers count from the layer's least."""
        values = np.zeros(len(self.candidates) + len(self.circuits))
        if quantity in _SUMS:
            for layer, low in zip(self.layers, _least_of(self.rows, quantity), strict=True):
                values[layer] = [getattr(self.candidates[i], quantity) - low for i in layer]
        else:
            values[len(self.candidates) :] = self.of_circuits[quantity]
        return values

    def cost(self, quantity: str, bounds: Bounds) -> tuple[FloatArray, float]:
        """What is minimised, and the scale on which it is: the most that it can be, as far as is known."""
        cost = self.needs(quantity)
        scale = float(sum(cost[layer].max() for layer in self.layers)) if quantity in _SUMS else float(cost.sum())
        if quantity in _SUMS and quantity in bounds:
            scale = min(scale, _room(self.rows, quantity, bounds))
        return cost, scale if scale > 0 else 1.0

    def add_rows(self, programme: BinaryProgramme, bounds: Bounds) -> None:
        """One candidate for each layer, circuits that are there, and the bounds."""
        for layer in self.layers:
            programme.exactly_one(layer)
            for number, circuit in enumerate(self.circuits):
                using = layer[[circuit in self.candidates[i].choice.circuits for i in layer]]
                if len(using):
                    indices = np.append(using, len(self.candidates) + number)
                    programme.at_most(0.0, indices, np.append(np.ones(len(using)), -1.0))
        for quantity, bound in bounds.items():
            needed = self.needs(quantity)
            room = _room(self.rows, quantity, bounds) if quantity in _SUMS else bound
            if len(needing := np.flatnonzero(needed)):
                share = needed[needing] / room if room > 0 else np.ones(len(needing))
                programme.at_most(1.0 if room > 0 else 0.0, needing, share)

    def picks(self, solution: FloatArray) -> IntArray:
        """Index of each layer's candidate in a solution."""
        return np.array([layer[np.argmax(solution[layer])] for layer in self.layers])
