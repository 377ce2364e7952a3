"""Whether a saved training state belongs to the training that is to go on from it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def require_same_training(
    state: Mapping[str, Any], recipe: Mapping[str, Any], weights: Mapping[str, Tensor], has_score: bool
) -> None:
    """Refuses a state of another training.

    Args:
        state: from `Trainer.state_dict`.
        recipe: of the training that would go on, by key.
        weights: of its module, by name.
        has_score: whether it validates.

    Raises:
        ValueError: recipe or network differ, or only one of the two has a score; says in what.
    """
    then = state["recipe"]
    other = [f"{key} was {then.get(key)!r}, is {value!r}" for key, value in recipe.items() if then.get(key) != value]
    if other:
        raise ValueError(f"the state is of another recipe: {', '.join(other)}")
    before, now = ({name: list(t.shape) for name, t in tensors.items()} for tensors in (state["module"], weights))
    if before != now:
        name = next(name for name in {**now, **before} if before.get(name) != now.get(name))
        raise ValueError(
            f"the state is of another network: {name!r} was {before.get(name, 'absent')}, is {now.get(name, 'absent')}"
        )
    if (state["best"] is not None) != has_score:
        raise ValueError("the state is of a training with a validation score, or this one is, but not both")
