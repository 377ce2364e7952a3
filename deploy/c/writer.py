"""Collects the parts of one C file: constants (equal ones once), kernels (each once), and text helpers."""

import re
from dataclasses import dataclass, field
from importlib import resources

import numpy as np
import numpy.typing as npt

_LINE = 110
_NEEDS = {
    "layer": ("scale", "store"),
    "add": ("store",),
    "clamp": ("store",),
    "avg_pool": ("scale", "store"),
    "concat": ("scale", "store"),
    "field": ("layer",),
    "row": ("layer",),
}


def c_type(dtype: np.dtype | str) -> str:
    """C name of a numpy integer type, e.g. "uint8_t"."""
    return f"{np.dtype(dtype).name}_t"


def identifier(name: str) -> str:
    """A layer name as part of a C identifier."""
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "unnamed"


def comment_text(text: str) -> str:
    """Text that cannot end a C comment: ASCII, one line."""
    return text.encode("ascii", "replace").decode().replace("*/", "* /").replace("/*", "/ *").replace("\n", " ")


def initialiser(struct: str, name: str, **members: object) -> str:
    """Definition of a constant struct with named members; a nested mapping is a nested struct."""
    return f"static const {struct} {name} = {_braces(members, 1)};\n"


def _braces(members: dict[str, object], depth: int) -> str:
    pad = "    " * depth
    lines = []
    for key, value in members.items():
        text = _braces(value, depth + 1) if isinstance(value, dict) else str(value)
        lines.append(f"{pad}.{key} = {text},\n")
    return "{\n" + "".join(lines) + "    " * (depth - 1) + "}"


@dataclass
class Writer:
    """Parts of one C file in the making.

    Attributes:
        definitions: preprocessor lines.
        kernels: C text by key, in the order they must appear.
        constants: C text of the definitions.
    """

    definitions: list[str] = field(default_factory=list)
    kernels: dict[str, str] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)
    _names: dict[tuple[str, bytes], str] = field(default_factory=dict)

    def kernel(self, fragment: str, tokens: dict[str, str] | None = None) -> None:
        """Adds the kernel file `fragment`.c, after what it needs, once per set of tokens.

        Args:
            fragment: name of the file in `deploy.c`, without ending.
            tokens: words replaced in it.
        """
        for needed in _NEEDS.get(fragment, ()):
            self.kernel(needed)
        tokens = tokens or {}
        key = " ".join([fragment, *tokens.values()])
        if key in self.kernels:
            return
        text = resources.files("deploy.c").joinpath(f"{fragment}.c").read_text(encoding="ascii")
        if tokens:
            text = re.sub(r"\b(" + "|".join(tokens) + r")\b", lambda match: tokens[match[0]], text)
        self.kernels[key] = text

    def constant(self, name: str, values: npt.NDArray[np.integer], *, slack: int = 0, note: str = "") -> str:
        """Defines an array and returns its identifier; an equal earlier one is used instead.

        Args:
            name: wished identifier.
            values: any shape, written flat.
            slack: zero elements appended, for kernels that read whole words.
            note: comment before the definition.
        """
        flat = np.concatenate([values.reshape(-1), np.zeros(slack, values.dtype)])
        key = (flat.dtype.name, flat.tobytes())
        if key not in self._names:
            self._names[key] = name
            head = f"/* {comment_text(note)} */\n" if note else ""
            self.constants.append(
                f"{head}static const {c_type(flat.dtype)} {name}[{len(flat)}] = {{\n{_numbers(flat)}}};\n"
            )
        return self._names[key]


def _numbers(flat: npt.NDArray[np.integer]) -> str:
    texts = [str(value) if value != -(2**31) else "(-2147483647 - 1)" for value in flat.tolist()]
    width = max(len(text) for text in texts) + 2
    per_line = max(1, _LINE // width)
    lines = [", ".join(texts[start : start + per_line]) for start in range(0, len(texts), per_line)]
    return "".join(f"    {line},\n" for line in lines)
