"""picojoule: approximate multipliers, pruning and compilation for small devices, with an account of every picojoule.

The verbs `prune`, `quantise`, `trace`, `select`, `approximate`, `retrain`, `compile`, `energy` work alone, on your own
`nn.Module` and `DataLoader`; see `picojoule.verbs`. They are loaded when first used, so that the command line starts
quickly.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picojoule.verbs import approximate as approximate
    from picojoule.verbs import compile as compile
    from picojoule.verbs import energy as energy
    from picojoule.verbs import prune as prune
    from picojoule.verbs import quantise as quantise
    from picojoule.verbs import retrain as retrain
    from picojoule.verbs import select as select
    from picojoule.verbs import trace as trace

VERBS = ("approximate", "compile", "energy", "prune", "quantise", "retrain", "select", "trace")


def __dir__() -> list[str]:
    return [*globals(), *VERBS]


def __getattr__(name: str) -> Any:
    if name in VERBS:
        from picojoule import verbs

        return getattr(verbs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; the verbs are {', '.join(VERBS)}")
