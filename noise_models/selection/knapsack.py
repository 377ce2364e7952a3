"""Multiple-choice knapsack: the whole convex front at once.

minimise Σ energy subject to Σ degradation <= budget, one candidate per layer. For a price beta of degradation every
layer takes its own minimum of energy + beta * degradation, which moves along the layer's lower convex hull as beta
falls. So the vertices of the front are: all layers at their least degradation, then one hull edge after the other, in
order of energy saved per degradation. O(L M log(L M)) for L layers with M candidates, no sweep over guessed prices.

Source: Sinha and Zoltners, "The multiple-choice knapsack problem", Operations Research 27 (1979);
papers/approximate_networks.md §8. `exact.py` gives the points between the vertices.
"""

from collections.abc import Iterator, Mapping, Sequence

from noise_models.candidates import Candidates, Option
from noise_models.selection.front import Front, FrontPoint
from noise_models.selection.hull import choosable, lower_hull, slopes


def knapsack(candidates: Candidates) -> Front:
    """Every vertex of the convex front.

    Each is optimal: no choice with its energy or less degrades less.

    Args:
        candidates: by layer name, as `list_candidates` gives them.

    Raises:
        ValueError: there are no layers, or one has no candidate of finite degradation.
    """
    return Front.of("knapsack", map(FrontPoint.of, vertices(choosable(candidates))))


def vertices(rows: Mapping[str, Sequence[Option]]) -> Iterator[dict[str, Option]]:
    """The choice at every vertex of the convex front, least degradation first.

    Args:
        rows: undominated options, cheapest first, by layer or by group of layers.
    """
    hulls = {name: _hull(row) for name, row in rows.items()}
    exchanges: list[tuple[float, str, Option]] = []  # degradation per energy saved, layer, to
    for name, hull in hulls.items():
        prices = slopes([(c.energy, c.degradation) for c in hull])
        steps = [(price, name, cheaper) for price, cheaper in zip(prices, hull, strict=False)]
        exchanges += reversed(steps)
    exchanges.sort(key=lambda exchange: exchange[0])  # stable, so the exchanges of a layer stay in order
    chosen = {name: hull[-1] for name, hull in hulls.items()}
    yield dict(chosen)
    for _, name, cheaper in exchanges:
        chosen[name] = cheaper
        yield dict(chosen)


def _hull(row: Sequence[Option]) -> list[Option]:
    return [row[i] for i in lower_hull([(c.energy, c.degradation) for c in row])]
