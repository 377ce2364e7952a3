"""Functions of the user's own, named "package.module:function" in a configuration."""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from picojoule.errors import UserError
from picojoule.files import hash_file


def import_factory(name: str) -> Callable[..., Any]:
    """Imports a function by "package.module:function"; modules of the folder picojoule was started in are found too.

    Raises:
        UserError: no such module, or nothing callable of that name in it.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute.isidentifier():
        raise UserError(f"expected package.module:function, got {name!r}")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise
        raise UserError(f"{name}: no module named {error.name!r} here or among the installed packages") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise UserError(f"{name}: module {module_name} has no function {attribute!r}")
    return factory


def described(error: Exception) -> str:
    """What went wrong in the user's code, and in which line: "RuntimeError: no such layer (models.py, line 12)"."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'} ({place.filename}, line {place.lineno})"


def source_digest(name: str) -> str:
    """SHA-256 of the file that holds the function "package.module:function".

    Raises:
        UserError: as `import_factory`.
    """
    source = inspect.getsourcefile(import_factory(name))
    return hash_file(source) if source else name
