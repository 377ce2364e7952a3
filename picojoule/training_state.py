"""Checkpoints of a training loop, without pickle: one safetensors file, replaced atomically.

    state = TrainingState(context.checkpoints, model, optimizer, {"noise": generator})
    start = state.load()                         # 0, or the epoch to go on with
    for epoch in range(start, epochs):
        ...
        state.save(epoch + 1, loss=float(loss))

A resumed run continues bit for bit: weights, optimiser, random number generators and your own numbers are kept.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from picojoule.files import Json, atomic_path

_FILE = "state.safetensors"
_FORMAT = 1


class TrainingState:
    """Saves and restores everything a training loop needs to go on.

    Attributes:
        extra: the numbers given to the last `save`, after `load`.
    """

    def __init__(
        self,
        folder: str | Path,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        generators: Mapping[str, torch.Generator] | None = None,
    ) -> None:
        """Reads and writes nothing yet.

        Args:
            folder: the stage's checkpoint folder.
            model, optimizer: saved and restored in place.
            generators: further random number generators; torch's global one is always kept.
        """
        self._path = Path(folder) / _FILE
        self._model, self._optimizer = model, optimizer
        self._generators = dict(generators or {})
        self.extra: dict[str, Json] = {}

    def save(self, step: int, **extra: Json) -> None:
        """Writes the state.

        Args:
            step: epochs (or steps) that are done.
            extra: further JSON values to get back after `load`.
        """
        tensors = {f"model.{name}": tensor for name, tensor in self._model.state_dict().items()}
        tensors |= {f"generator.{name}": g.get_state() for name, g in self._generators.items()}
        tensors["rng.torch"] = torch.get_rng_state()
        optimizer = None
        if self._optimizer is not None:
            optimizer = _flatten(self._optimizer.state_dict(), "optimizer", tensors)
        header = {"format": _FORMAT, "step": step, "extra": extra, "optimizer": optimizer}
        with atomic_path(self._path) as temporary:
            copies = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
            save_file(copies, temporary, metadata={"training": json.dumps(header)})

    def load(self) -> int:
        """Restores the last state into model, optimiser and generators.

        Returns:
            `step` of the last `save`; 0 where there is none.

        Raises:
            ValueError: the file is damaged or belongs to another model; delete it to start over.
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
        prefix = "model."
        self._model.load_state_dict({n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)})
        if self._optimizer is not None:
            self._optimizer.load_state_dict(_unflatten(header["optimizer"], tensors))
        for name, generator in self._generators.items():
            generator.set_state(tensors[f"generator.{name}"])
        torch.set_rng_state(tensors["rng.torch"])


def _flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> Json:
    """A nested state as JSON; its tensors go into `tensors` and leave their name behind."""
    if isinstance(value, Tensor):
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, dict):
        return {"dict": [[key, _flatten(item, f"{path}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_flatten(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise ValueError(f"optimiser state {path}: expected tensors and plain values, got {type(value).__name__}")


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
