"""JSON files that users may have edited: what is wrong with one is said in one line."""

import json
from pathlib import Path
from typing import Any


def read_document(path: Path | str) -> Any:
    """The value in a JSON file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON; names file and line.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not JSON: it is no UTF-8 text") from error
