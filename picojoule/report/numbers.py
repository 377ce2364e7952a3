"""Numbers as people read them."""

_PREFIXES = ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ"))
_COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
NARROW_SPACE = "\u202f"
MINUS = "\u2212"


def energy(pj: float) -> str:
    """Picojoule with a fitting prefix and three significant digits: "1.24 µJ"."""
    for factor, unit in _PREFIXES:
        if abs(pj) >= factor:
            return f"{_three(pj / factor)}{NARROW_SPACE}{unit}"
    return f"{_three(pj)}{NARROW_SPACE}pJ"


def energy_with_sigma(pj: float, sigma_pj: float) -> str:
    """ "1.24 ± 0.31 µJ"."""
    if not sigma_pj:
        return energy(pj)
    factor, unit = next(((f, u) for f, u in _PREFIXES if abs(pj) >= f), _PREFIXES[-1])
    return f"{_three(pj / factor)} ± {_three(sigma_pj / factor, 2)}{NARROW_SPACE}{unit}"


def count(number: float) -> str:
    """ "40.6 M", "1,797"."""
    if abs(number) < 10_000:
        return f"{number:,.0f}"
    factor, unit = next((f, u) for f, u in _COUNTS if abs(number) >= f)
    return f"{_three(number / factor)}{NARROW_SPACE}{unit}"


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as "83.8 %"."""
    return f"{100 * fraction:.{digits}f}{NARROW_SPACE}%".replace("-", MINUS)


def points(difference: float) -> str:
    """A difference of two percentages with its sign: "−0.42 pp"."""
    return f"{difference:+.2f}{NARROW_SPACE}pp".replace("-", MINUS)


def small(number: float) -> str:
    """Two significant digits: "0.052", "1.3e-05" as "1.3×10⁻⁵"."""
    if number == 0 or 1e-4 <= abs(number) < 1e4:
        return f"{number:.2g}" if abs(number) < 100 else f"{number:.0f}"
    mantissa, exponent = f"{number:.1e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def _three(value: float, digits: int = 3) -> str:
    """Fixed-point text with so many significant digits, never an exponent."""
    magnitude = abs(value)
    decimals = digits - 1 - sum(magnitude >= 10**power for power in (1, 2))
    if 0 < magnitude < 1:
        decimals = digits
    return f"{value:.{max(decimals, 0)}f}"
