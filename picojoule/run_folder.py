"""A run is a folder: resolved configuration, environment, log, one sub-folder a stage, report.

runs/demo/
  config.toml        the configuration with every default filled in
  environment.json   versions and processor
  log.jsonl          one event a line
  prune/ select/ …   outputs of the stages, each with its stage.json
  .work/             stages under way: their checkpoints
  .lock              held while a process works in the folder
"""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from picojoule.config import RunConfig, to_toml
from picojoule.environment import environment
from picojoule.errors import UserError
from picojoule.files import Json, canonical_json, write_json, write_text

if os.name == "nt":
    import msvcrt
else:
    import fcntl


LOG = "log.jsonl"


class RunFolderBusyError(UserError):
    """Another process works in the run folder."""


class RunFolder:
    """An open run folder; use it as a context manager. Only one process can hold it open.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        """Creates the folder where it is missing, and takes its lock.

        Raises:
            RunFolderBusyError: another process has it open.
            UserError: the path is a file, or a folder that holds other things than a run.
        """
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: expected a folder for the run, got a file; choose another folder")
        strangers = [p.name for p in self.path.iterdir()] if self.path.is_dir() else []
        if strangers and not (self.path / LOG).is_file():
            raise UserError(f"{self.path} holds other files ({strangers[0]}) and no run; choose another folder")
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(self.path)
        self._log: IO[str] = self._open_log()

    def _open_log(self) -> IO[str]:
        """Opens the log for appending; a last line that a kill cut short is ended first."""
        path = self.path / LOG
        is_cut = path.is_file() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
        log = path.open("a", encoding="utf-8")
        if is_cut:
            log.write("\n")
        return log

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.log("run", "failed", error=f"{type(error).__name__}: {error}")
        self.close()

    def close(self) -> None:
        """Closes the log and frees the folder for other processes."""
        self._log.close()
        self._lock.close()

    def begin(self, config: RunConfig) -> None:
        """Writes the resolved configuration and the environment, and logs the start."""
        write_text(self.path / "config.toml", to_toml(config))
        write_json(self.path / "environment.json", environment())
        self.log("run", "begin", name=config.name, seed=config.seed)

    def log(self, stage: str, event: str, **values: Json) -> None:
        """Appends one line to log.jsonl: time (UTC), stage, event and the given values.

        The line survives a kill of the process from the moment this returns.
        """
        record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "stage": stage, "event": event}
        self._log.write(canonical_line(record | values))
        self._log.flush()

    def read_log(self) -> list[dict[str, Json]]:
        """All whole lines of the log, oldest first."""
        return read_log(self.path / LOG)


def canonical_line(record: dict[str, Json]) -> str:
    """One JSON object and a line end; values that JSON cannot hold become text."""
    head = {key: record[key] for key in ("time", "stage", "event")}
    rest = json.loads(canonical_json({k: _finite(v) for k, v in record.items() if k not in head}))
    return json.dumps(head | rest, ensure_ascii=False) + "\n"


def _finite(value: Json) -> Json:
    """A diverged loss must still reach the log: NaN and infinities as text."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value


def read_log(path: str | Path) -> list[dict[str, Json]]:
    """Events of a log.jsonl, oldest first; lines that a kill cut short are left out."""
    events = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def _take_lock(folder: Path) -> IO[bytes]:
    """Locks `.lock`; the system frees it when the process ends, however it ends."""
    path = folder / ".lock"
    file = path.open("a+b")
    try:
        if os.name == "nt":
            file.seek(1 << 20)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read().decode(errors="replace").strip() or "another process"
        file.close()
        message = f"{folder}: this run folder is in use by {holder}; wait for it, or choose another folder"
        raise RunFolderBusyError(message) from error
    file.seek(0)
    file.truncate()
    file.write(f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode())
    file.flush()
    return file
