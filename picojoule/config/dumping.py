"""Writes a configuration as TOML; reading it back gives an equal configuration."""

import json
import re
from typing import Any

from pydantic import BaseModel

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(config: BaseModel) -> str:
    """The configuration with every default filled in, as TOML. Absent values are left out."""
    tables: list[str] = []
    _table((), config.model_dump(mode="json", by_alias=True, exclude_none=True), tables)
    return "\n".join(tables).lstrip("\n")


def _table(path: tuple[str, ...], values: dict[str, Any], out: list[str]) -> None:
    """Appends the table's own keys, then its sub-tables, to `out`."""
    if path:
        out.append(f"\n[{'.'.join(_key(p) for p in path)}]")
    for key, value in values.items():
        if not isinstance(value, dict):
            out.append(f"{_key(key)} = {_value(value)}")
    for key, value in values.items():
        if isinstance(value, dict) and (value or len(path) == 0):
            _table((*path, key), value, out)
    if not path:
        out.append("")


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(v) for v in value)}]"
    return repr(value)
