"""The energy/accuracy front as an SVG picture, for a README: no browser, no script, light and dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from picojoule.report.contents import IN_VIEW, FrontPoint, PointKind

_STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; fill: #5d6269 }
.paper { fill: #fbfbf9 } .grid { stroke: #e2e3df } .exact { stroke: #8b9097; stroke-dasharray: 2 4 }
.front { fill: none; stroke: #2166c4; stroke-width: 2 } .dot { fill: #2166c4 } .uniform { fill: #8b9097 }
.chosen { fill: #c2470a } .retrained { fill: #fbfbf9; stroke: #c2470a; stroke-width: 2 } .strong { fill: #1d1f23 }
.step { stroke: #c2470a; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #a3a8b0 } .paper { fill: #15171a } .grid { stroke: #31353b } .exact { stroke: #80868f }
.front { stroke: #6ea8f2 } .dot { fill: #6ea8f2 } .uniform { fill: #80868f } .chosen { fill: #ff9a5c }
.retrained { fill: #15171a; stroke: #ff9a5c } .strong { fill: #e9eaec } .step { stroke: #ff9a5c }
}
"""
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 22, 52, 50
STARS = (PointKind.CHOSEN, PointKind.RETRAINED)
_LEGEND = (
    (PointKind.MEASURED, "one circuit per layer"),
    (PointKind.UNIFORM, "one circuit everywhere"),
    (PointKind.CHOSEN, "chosen"),
    (PointKind.RETRAINED, "retrained"),
)


@dataclass(frozen=True)
class _Plane:
    """Maps (saved %, accuracy %) to the picture."""

    width: int
    height: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, saved: float) -> float:
        low, high = self.x_range
        return _LEFT + (saved - low) / (high - low) * (self.width - _LEFT - _RIGHT)

    def y(self, accuracy: float) -> float:
        low, high = self.y_range
        return self.height - _BOTTOM - (accuracy - low) / (high - low) * (self.height - _TOP - _BOTTOM)


def front_svg(
    points: Sequence[FrontPoint],
    exact_accuracy: float,
    *,
    width: int = 760,
    height: int = 430,
    lowest: float | None = None,
) -> str:
    """The measured points: accuracy over multiplication energy saved.

    Args:
        points: only measured ones are drawn (`accuracy` is not None).
        exact_accuracy: of the exact 8-bit network, percent; a dotted line.
        width, height: of the picture.
        lowest: accuracy at the bottom, percent; points below are left out. Absent: chosen to show the front.

    Returns:
        SVG text.

    Raises:
        ValueError: no point was measured.
    """
    measured = [p for p in points if p.accuracy is not None]
    if not measured:
        raise ValueError("front picture: expected at least one measured point, got none; measure candidates first")
    plane = _plane(measured, exact_accuracy, width, height, lowest)
    shown = [p for p in measured if (p.accuracy or 0) >= plane.y_range[0]]
    best = max(shown, key=lambda p: (p.kind in (PointKind.CHOSEN, PointKind.RETRAINED), p.accuracy or 0), default=None)
    summary = "Accuracy against multiplication energy saved" + (
        f": {100 * best.saved_multiplication:.1f} % saved at {best.accuracy:.2f} %" if best else ""
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(summary)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}" rx="10"/>',
        *_axes(plane, exact_accuracy),
        *_points(plane, shown),
        *_legend(shown),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _plane(points: Sequence[FrontPoint], exact: float, width: int, height: int, lowest: float | None) -> _Plane:
    accuracies = [p.accuracy for p in points if p.accuracy is not None]
    ours = [p.accuracy for p in points if p.accuracy is not None and p.kind != PointKind.UNIFORM] or accuracies
    ours = [accuracy for accuracy in ours if accuracy >= exact - IN_VIEW] or ours
    spread = max(max(exact, *accuracies) - min(ours), 0.5)
    bottom = max(0.0, min(ours) - 0.8 * spread) if lowest is None else lowest
    top = min(100.0, max(exact, *accuracies) + 0.25 * spread)
    saved = [100 * p.saved_multiplication for p in points if (p.accuracy or 0) >= bottom] or [0.0]
    right = min(100.0, math.ceil((max(saved) + 2) / 5) * 5.0)
    left = min(0.0, math.floor(min(saved) / 10) * 10.0)
    if min(saved) > 30:
        left = math.floor((min(saved) - 4) / 10) * 10.0
    return _Plane(width, height, (left, right), (bottom, top))


def _ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers between low and high, about as many as wanted."""
    raw = (high - low) / wanted
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    return [step * n for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _axes(plane: _Plane, exact: float) -> list[str]:
    left, right, bottom = _LEFT, plane.width - _RIGHT, plane.height - _BOTTOM
    parts = []
    for value in _ticks(*plane.y_range, 7):
        y = plane.y(value)
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in _ticks(*plane.x_range, 7):
        x = plane.x(value)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{value:g}</text>')
    y = plane.y(exact)
    parts += [
        f'<path class="exact" d="M{left} {y:.1f}H{right}"/>',
        f'<text x="{left + 6}" y="{y - 6:.1f}">exact 8-bit {exact:.2f} %</text>',
        f'<text x="{(left + right) / 2:.1f}" y="{plane.height - 12}" text-anchor="middle">'
        "multiplication energy saved (%)</text>",
        f'<text transform="translate(18 {(_TOP + bottom) / 2:.1f}) rotate(-90)" text-anchor="middle">'
        "top-1 accuracy (%)</text>",
    ]
    return parts


def _points(plane: _Plane, points: Sequence[FrontPoint]) -> list[str]:
    place = {id(p): (plane.x(100 * p.saved_multiplication), plane.y(p.accuracy or 0.0)) for p in points}
    front = [p for p in points if p.kind in (PointKind.MEASURED, PointKind.CHOSEN)]
    front.sort(key=lambda p: p.saved_multiplication)
    parts = []
    if len(front) > 1:
        path = "L".join(f"{place[id(p)][0]:.1f} {place[id(p)][1]:.1f}" for p in front)
        parts.append(f'<path class="front" d="M{path}"/>')
    parts += _retraining_step([place[id(p)] for k in STARS for p in points if p.kind == k])
    for point in sorted(points, key=lambda p: p.kind in STARS):
        x, y = place[id(point)]
        title = (
            f"{point.label or point.kind.value}: {100 * point.saved_multiplication:.1f} % saved, {point.accuracy:.2f} %"
        )
        parts.append(f"<g><title>{escape(title)}</title>{_mark(point.kind, x, y)}</g>")
        if point.kind == PointKind.UNIFORM and point.label:
            parts.append(f'<text x="{x:.1f}" y="{y + 19:.1f}" text-anchor="middle">{escape(point.label)}</text>')
        elif point.kind in STARS:
            crowded = any(o is not point and o.kind in STARS and abs(place[id(o)][1] - y) < 16 for o in points)
            below = 18 if crowded and point.kind == PointKind.CHOSEN else 0  # the two labels would cover each other
            parts.append(f'<text class="strong" {_beside(plane, x, y + below)}>{point.accuracy:.2f} %</text>')
    return parts


def _retraining_step(places: Sequence[tuple[float, float]]) -> list[str]:
    """An arrow-like line from the chosen point to the retrained one."""
    if len(places) != 2:
        return []
    (x0, y0), (x1, y1) = places
    return [f'<path class="step" d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"/>']


def _beside(plane: _Plane, x: float, y: float) -> str:
    if x > plane.width - _RIGHT - 70:
        return f'x="{x - 12:.1f}" y="{y - 8:.1f}" text-anchor="end"'
    return f'x="{x + 12:.1f}" y="{y - 5:.1f}"'


def _mark(kind: PointKind, x: float, y: float) -> str:
    if kind == PointKind.UNIFORM:
        return f'<path class="uniform" d="M{x:.1f} {y - 6:.1f}l6 6-6 6-6-6z"/>'
    if kind in STARS:
        corners = [
            (x + radius * math.sin(math.pi * n / 5), y - radius * math.cos(math.pi * n / 5))
            for n, radius in enumerate((10.0, 4.2) * 5)
        ]
        outline = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
        return f'<polygon class="{kind.value}" points="{outline}"/>'
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'


def _legend(points: Sequence[FrontPoint]) -> list[str]:
    present = {p.kind for p in points}
    parts, x = [], float(_LEFT)
    for kind, label in _LEGEND:
        if kind in present:
            parts.append(_mark(kind, x + 6, 26))
            parts.append(f'<text x="{x + 20:.1f}" y="30">{label}</text>')
            x += 48 + 7.0 * len(label)
    return parts
