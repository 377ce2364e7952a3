"""`History`: the ordered record of what was done to a network, saved with its weights.

A network that was pruned and approximated has other shapes and layers than the fresh one of its factory. The history
names the transformations and their parameters; a reload replays them on a fresh network, then loads the weights:

    save_checkpoint(model, history, "pruned.safetensors")
    model = load_checkpoint(make_model(), "pruned.safetensors", {"prune": apply_plan})

Weights and history are one file (the history is JSON in the safetensors header), so they cannot part.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from picojoule.errors import did_you_mean
from picojoule.files import Json, atomic_path, canonical_json

Transformation = Callable[[nn.Module, Mapping[str, Json]], nn.Module]
_METADATA_KEY = "picojoule.history"
_FORMAT = 1


@dataclass(frozen=True)
class Step:
    """One transformation.

    Attributes:
        name: of the transformation, for instance "prune".
        parameters: JSON; everything needed to do it again, for instance a pruning plan.
        content: `content_hash` of the state after it.
    """

    name: str
    parameters: Mapping[str, Json]
    content: str


@dataclass(frozen=True)
class History:
    """Ordered, immutable record of transformations; `add` gives a longer one."""

    steps: tuple[Step, ...] = ()

    def add(self, name: str, parameters: Mapping[str, Json], model: nn.Module) -> "History":
        """This history with one more step.

        Args:
            name: of the transformation.
            parameters: JSON; a copy is kept.
            model: the network after the transformation.

        Raises:
            ValueError: the parameters are no JSON.
        """
        copy = json.loads(canonical_json(dict(parameters)))
        return History((*self.steps, Step(name, copy, content_hash(model.state_dict()))))

    def replay(self, model: nn.Module, transformations: Mapping[str, Transformation]) -> nn.Module:
        """Does all steps again on a fresh network; weights are what the transformations make of the fresh ones.

        Args:
            model: as its factory made it.
            transformations: name -> function (model, parameters) -> model.

        Raises:
            ValueError: a step has a name that `transformations` lacks.
        """
        for number, step in enumerate(self.steps, 1):
            if step.name not in transformations:
                hint = did_you_mean(step.name, transformations)
                raise ValueError(f"history step {number}: unknown transformation {step.name!r}{hint}")
            model = transformations[step.name](model, step.parameters)
        return model

    def to_json(self) -> Json:
        """As JSON, versioned."""
        return {"format": _FORMAT, "steps": [asdict(step) for step in self.steps]}

    @classmethod
    def from_json(cls, value: Json) -> "History":
        """The inverse of `to_json`.

        Raises:
            ValueError: another format version, or no history.
        """
        if not isinstance(value, dict) or value.get("format") != _FORMAT:
            found = value.get("format") if isinstance(value, dict) else type(value).__name__
            raise ValueError(f"history: expected format {_FORMAT}, got {found}; use the version that wrote it")
        return cls(tuple(Step(s["name"], s["parameters"], s["content"]) for s in value["steps"]))


def content_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of a state, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{list(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_checkpoint(model: nn.Module, history: History, path: str | Path) -> None:
    """Saves weights and history as one safetensors file, atomically."""
    tensors = {name: t.detach().cpu().clone().contiguous() for name, t in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_METADATA_KEY: json.dumps(history.to_json())})


def load_state(path: str | Path) -> tuple[dict[str, Tensor], History]:
    """Reads weights and history.

    Returns:
        name -> tensor, and the history (empty for a safetensors file that others wrote).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, damaged or no safetensors file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except SafetensorError as error:
        raise ValueError(f"{path}: truncated or no safetensors file ({error}); copy or make it again") from error
    text = metadata.get(_METADATA_KEY)
    return state, History.from_json(json.loads(text)) if text else History()


def load_checkpoint(
    model: nn.Module, path: str | Path, transformations: Mapping[str, Transformation] | None = None
) -> tuple[nn.Module, History]:
    """Replays the history of a checkpoint on a fresh network and loads its weights.

    Args:
        model: as its factory made it.
        path: written by `save_checkpoint`.
        transformations: name -> function (model, parameters) -> model.

    Returns:
        The network with its weights, and the history.

    Raises:
        FileNotFoundError, ValueError: as `load_state` and `History.replay`; or names or shapes do not fit, each listed.
    """
    state, history = load_state(path)
    model = history.replay(model, transformations or {})
    load_matching(model, state, str(path))
    return model, history


def load_matching(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Loads a state into a network.

    Raises:
        ValueError: names or shapes do not fit; every difference is listed.
    """
    own = model.state_dict()
    problems = [
        f"{name}: expected {list(own[name].shape)}, got {list(state[name].shape)}"
        for name in own
        if name in state and own[name].shape != state[name].shape
    ]
    problems += [f"unexpected {name} {list(state[name].shape)}" for name in state if name not in own]
    problems += [f"missing {name} {list(own[name].shape)}" for name in own if name not in state]
    if problems:
        shown = "; ".join(problems[:20]) + (f"; and {len(problems) - 20} more" if len(problems) > 20 else "")
        raise ValueError(f"{source}: does not fit {type(model).__name__}: {shown}")
    model.load_state_dict(dict(state))
