"""An optimiser's state as named plain tensors, so that it can lie in a safetensors file beside the rest of a search."""

from collections.abc import Mapping

import torch

_PREFIX = "optimiser."


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Copies of momenta and step counts, "optimiser.<number of the parameter>.<what>"."""
    return {
        f"{_PREFIX}{number}.{key}": value.clone()
        for number, entry in optimiser.state_dict()["state"].items()
        for key, value in entry.items()
        if value is not None
    }


def load_optimiser_tensors(optimiser: torch.optim.Optimizer, state: Mapping[str, torch.Tensor]) -> None:
    """Takes up what `optimiser_tensors` gave; other names are left out."""
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in state.items():
        if name.startswith(_PREFIX):
            number, key = name.removeprefix(_PREFIX).split(".")
            entries.setdefault(int(number), {})[key] = value.clone()
    optimiser.load_state_dict({**optimiser.state_dict(), "state": entries})
