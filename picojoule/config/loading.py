"""Reads a run configuration from TOML and reports every mistake with its line.

examples/x.toml:12: prune.mac: unknown key; did you mean 'macs'?
"""

import json
import tomllib
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from picojoule.config.sections import RunConfig, Section
from picojoule.config.toml_lines import Location, index_lines, line_of
from picojoule.errors import ConfigError, did_you_mean

Choices = Mapping[str, Collection[str]]


def load_config(path: str | Path, overrides: Iterable[str] = (), choices: Choices | None = None) -> RunConfig:
    """Reads a run configuration.

    Args:
        path: a TOML file.
        overrides: "section.key=value" as given to `--set`; the value is TOML, or a string without quotes.
        choices: names that may stand at a key, for instance {"prune.criterion": ["magnitude", "taylor"],
            "deploy.targets": [...]}; patterns such as "*:*" may be among them.

    Raises:
        ConfigError: the file is missing or broken, or its contents are wrong; all problems, each with its line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {(error.strerror or str(error)).lower()}"]) from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ConfigError([f"{path}:{line}: broken TOML: the file is not UTF-8 text"]) from error
    return parse_config(text, str(path), overrides, choices)


def parse_config(
    text: str, source: str = "<text>", overrides: Iterable[str] = (), choices: Choices | None = None
) -> RunConfig:
    """Like `load_config`, from the text of a file that messages call `source`."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_broken(source, text, error)]) from error
    document = _Document(source, values, index_lines(text), {})
    document.override(overrides)
    try:
        config = RunConfig.model_validate_json(json.dumps(document.values, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(_problems(document, error, _bad_choices(document, choices or {}))) from error
    if bad := _bad_choices(document, choices or {}):
        raise ConfigError(document.in_order(bad))
    return config


def _broken(source: str, text: str, error: tomllib.TOMLDecodeError) -> str:
    message, _, where = str(error).partition(" (at ")
    words = where.rstrip(")").replace(",", "").split()
    line = words[1] if words[:1] == ["line"] else str(text.rstrip("\n").count("\n") + 1)
    column = f" (column {words[3]})" if len(words) == 4 else ""
    return f"{source}:{line}: broken TOML: {message[:1].lower()}{message[1:]}{column}"


@dataclass
class _Document:
    """Parsed values together with where each was written."""

    source: str
    values: dict[str, Any]
    lines: dict[Location, int]
    overridden: dict[Location, str]

    def override(self, settings: Iterable[str]) -> None:
        """Applies `--set section.key=value` in order.

        Raises:
            ConfigError: a setting has no "=" or goes through something that is no section.
        """
        problems = []
        for setting in settings:
            key, equals, raw = setting.partition("=")
            location = tuple(part.strip() for part in key.split("."))
            if not equals or not all(location):
                problems.append(f"--set {setting}: expected section.key=value")
                continue
            table = self.values
            for part in location[:-1]:
                table = table.setdefault(part, {})
                if not isinstance(table, dict):
                    problems.append(f"--set {setting}: {part} is a value, not a section")
                    break
            else:
                table[location[-1]] = _override_value(raw.strip())
                self.overridden[location] = f"--set {setting}"
        if problems:
            raise ConfigError(problems)

    def where(self, location: Location) -> str:
        for length in range(len(location), 0, -1):
            if location[:length] in self.overridden:
                return self.overridden[location[:length]]
        inside = [text for place, text in self.overridden.items() if place[: len(location)] == location]
        if location and inside and location not in self.lines:
            return " ".join(inside)
        line = line_of(self.lines, location)
        return self.source if line is None else f"{self.source}:{line}"

    def shorten(self, location: Location) -> Location:
        """Cuts off what a type checker added to the location (names of union members)."""
        value: Any = self.values
        for length, part in enumerate(location):
            is_there = isinstance(value, list) and isinstance(part, int) and part < len(value)
            if not (is_there or (isinstance(value, dict) and part in value)):
                return location[: length + 1] if isinstance(value, dict) else location[:length]
            value = value[part]
        return location

    def in_order(self, problems: dict[Location, str]) -> list[str]:
        """ "where: key: what is wrong" for each problem, in the order of the file."""
        ordered = sorted(problems.items(), key=lambda pair: line_of(self.lines, pair[0]) or 0)
        return [
            f"{self.where(location)}: {_dotted(location)}: {text}" if location else f"{self.where(())}: {text}"
            for location, text in ordered
        ]

    def get(self, location: Location) -> Any:
        value: Any = self.values
        for part in location:
            value = value.get(part) if isinstance(value, dict) else None
        return value


def _override_value(raw: str) -> Any:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw


def _dotted(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _problems(document: _Document, error: ValidationError, more: dict[Location, str]) -> list[str]:
    """One line per mistake, in the order of the file."""
    found: dict[Location, str] = {}
    for item in error.errors(include_url=False):
        location = document.shorten(tuple(item["loc"]))
        has_alternatives = len(item["loc"]) > len(location)
        found.setdefault(location, _message(location, dict(item), has_alternatives))
    within = {location[:length] for location in found for length in range(1, len(location))}
    found = {location: text for location, text in found.items() if location not in within}  # the mistake inside is why
    for key, value in document.values.items():
        model = _model_at((key,))
        if model is not None and isinstance(value, dict):
            for problem in model.exclusion_problems(value):
                found.setdefault((key,), problem)
    return document.in_order(found | more)


def _message(location: Location, item: dict[str, Any], has_alternatives: bool) -> str:
    kind = item["type"]
    if kind == "extra_forbidden":
        model = _model_at(location[:-1])
        return "unknown key" + did_you_mean(str(location[-1]), _keys(model) if model else ())
    if kind == "missing":
        return "missing; it has no default" if len(location) > 1 else f"missing section [{location[0]}]"
    if kind == "value_error":
        return str(item["msg"].removeprefix("Value error, "))
    if kind == "string_pattern_mismatch":
        expected = f"text that matches {item['ctx']['pattern']}"
    elif has_alternatives:
        expected = "a number, a text, true or false"
    else:
        expected = item["msg"].removeprefix("Input should be ")
    return f"expected {expected}, got {_shown(item['input'])}"


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _model_at(location: Location) -> type[Section] | None:
    """Type of the section at the location; None where there is no section."""
    model: type[Section] = RunConfig
    for part in location:
        field = model.model_fields.get(str(part))
        nested = _section_type(field.annotation) if field is not None else None
        if nested is None:
            return None
        model = nested
    return model


def _keys(model: type[Section]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def _section_type(annotation: Any) -> type[Section] | None:
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def _bad_choices(document: _Document, choices: Choices) -> dict[Location, str]:
    problems: dict[Location, str] = {}
    for key, known in choices.items():
        location: Location = tuple(key.split("."))
        value = document.get(location)
        places = [(*location, i) for i in range(len(value))] if isinstance(value, list) else [location]
        for place, name in zip(places, value if isinstance(value, list) else [value], strict=True):
            if isinstance(name, str) and not any(fnmatchcase(name, pattern) for pattern in known):
                hint = did_you_mean(name, [n for n in known if "*" not in n])
                problems[place] = f"unknown name {name!r}{hint}"
    return problems
