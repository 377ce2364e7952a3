"""Loads weight files of several kinds, none of them by running pickled code."""

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from picojoule.errors import UserError
from picojoule.history import load_matching, load_state

_TORCH_SUFFIXES = (".th", ".pt", ".pth")
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIX = "module."
_BROKEN = (  # what torch.load raises on damaged files, found by cutting and changing them
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    struct.error,
)
_COUNTER = ".num_batches_tracked"  # BatchNorm did not have it before torch 0.4.1; it only matters without momentum


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Loads weights into a network.

    Accepts safetensors, and torch files that hold nothing but tensors and plain containers (`weights_only`). A state
    inside {"state_dict": ...} is found, and the prefix `module.` of DataParallel taken off.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: damaged file, unknown kind, or names or shapes that do not fit (each listed).
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(2, "No such weight file", str(path))
    if path.suffix == ".safetensors":
        state, _ = load_state(path)
    elif path.suffix in _TORCH_SUFFIXES:
        state = _read_torch(path)
    else:
        known = ", ".join((".safetensors", *_TORCH_SUFFIXES))
        raise UserError(f"{path}: expected a weight file of kind {known}, got {path.suffix or 'no suffix'!r}")
    if state and all(name.startswith(_PREFIX) for name in state):
        state = {name[len(_PREFIX) :]: tensor for name, tensor in state.items()}
    counters = {n: t for n, t in model.state_dict().items() if n.endswith(_COUNTER)}
    load_matching(model, counters | state, str(path))


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = torch.load(path, weights_only=True, map_location="cpu")
    except _BROKEN as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: truncated, or no file of tensors only ({reason}); save the state_dict") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path}: expected a state_dict (names and tensors), got {type(content).__name__}")
    return {str(name): tensor for name, tensor in content.items()}
