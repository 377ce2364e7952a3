"""Checkpoints of a training loop, without pickle: one safetensors file, replaced atomically.

    state = TrainingState(context.checkpoints, {"model": model, "optimizer": optimizer}, {"noise": generator})
    start = state.load()                         # 0, or the epoch to go on with
    for epoch in range(start, epochs):
        ...
        state.save(epoch + 1, loss=float(loss))

A resumed run continues bit for bit: the state of every part (an `approx.Trainer` is one: weights, their average, the
best so far, optimiser), random number generators and your own numbers are kept.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from picojoule.files import Json, atomic_path

_FILE = "state.safetensors"
_FORMAT = 2


class Stateful(Protocol):
    """A module, an optimiser, a trainer: its state is nested dicts and lists of tensors and plain values."""

    def state_dict(self) -> dict[str, Any]:
        """The state."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Takes up a state; raises ValueError or RuntimeError where it is not this part's."""


class TrainingState:
    """Saves and restores everything a training loop needs to go on.

    Attributes:
        extra: the numbers given to the last `save`, after `load`.
    """

    def __init__(
        self,
        folder: str | Path,
        parts: Mapping[str, Stateful],
        generators: Mapping[str, torch.Generator] | None = None,
    ) -> None:
        """Reads and writes nothing yet.

        Args:
            folder: the stage's checkpoint folder.
            parts: saved and restored in place, by name.
            generators: further random number generators; torch's global one is always kept.
        """
        self._path = Path(folder) / _FILE
        self._parts, self._generators = dict(parts), dict(generators or {})
        self.extra: dict[str, Json] = {}

    def save(self, step: int, **extra: Json) -> None:
        """Writes the state.

        Args:
            step: epochs (or steps) that are done.
            extra: further JSON values to get back after `load`.

        Raises:
            ValueError: a part's state holds something else than tensors and plain values.
        """
        tensors = {f"generator.{name}": g.get_state() for name, g in self._generators.items()}
        tensors["rng.torch"] = torch.get_rng_state()
        parts = {name: _flatten(part.state_dict(), f"part.{name}", tensors) for name, part in self._parts.items()}
        header = {"format": _FORMAT, "step": step, "extra": extra, "parts": parts}
        with atomic_path(self._path) as temporary:
            copies = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
            save_file(copies, temporary, metadata={"training": json.dumps(header)})

    def load(self) -> int:
        """Restores the last state into parts and generators.

        Returns:
            `step` of the last `save`; 0 where there is none.

        Raises:
            ValueError: the file is damaged or belongs to another training; delete it to start over.
        """
        if not self._path.is_file():
            return 0
        try:
            with safe_open(self._path, framework="pt") as file:
                header = json.loads(file.metadata()["training"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
            self._restore(header, tensors)
        except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            message = f"{self._path}: cannot be resumed ({error}); delete it to start the stage over"
            raise ValueError(message) from error
        self.extra = header["extra"]
        return int(header["step"])

    def _restore(self, header: dict[str, Json], tensors: dict[str, Tensor]) -> None:
        if header["format"] != _FORMAT:
            raise ValueError(f"expected format {_FORMAT}, got {header['format']}, of another version of picojoule")
        if header["parts"].keys() != self._parts.keys():
            raise ValueError(f"expected the state of {sorted(self._parts)}, got that of {sorted(header['parts'])}")
        for name, part in self._parts.items():
            part.load_state_dict(_unflatten(header["parts"][name], tensors))
        for name, generator in self._generators.items():
            generator.set_state(tensors[f"generator.{name}"])
        torch.set_rng_state(tensors["rng.torch"])


def _flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> Json:
    """A nested state as JSON; its tensors go into `tensors` and leave their name behind."""
    if isinstance(value, Tensor):
        if path in tensors:
            raise ValueError(f"state of {path}: two tensors have this name; rename one of their keys")
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, dict):
        return {"dict": [[key, _flatten(item, f"{path}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_flatten(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise ValueError(f"state of {path}: expected tensors and plain values, got {type(value).__name__}")


def _unflatten(value: Json, tensors: dict[str, Tensor]) -> Any:
    [(kind, content)] = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unflatten(item, tensors) for key, item in content}
    if kind in ("list", "tuple"):
        items = [_unflatten(item, tensors) for item in content]
        return tuple(items) if kind == "tuple" else items
    return content
