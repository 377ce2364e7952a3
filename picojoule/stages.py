"""Stages of a run: done once, skipped while nothing they depend on has changed, resumed after a kill.

A stage's key is a hash of its name, the digests of its inputs, the part of the configuration it depends on, and the
version of the code it runs. Its outputs are made in `.work/<name>/outputs` and moved to `<name>/` in one step together
with `stage.json`, which holds the key and a hash of every output. So `<name>/` is whole or absent, whenever the process
was killed; what training stages saved in their checkpoint folder meanwhile is offered to the next attempt, as long as
the key is the same.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from picojoule.code_version import code_version
from picojoule.files import Json, canonical_json, hash_file, hash_json, hash_tree, read_json, write_json
from picojoule.run_folder import RunFolder

_MARKER = "stage.json"


@dataclass(frozen=True)
class StageContext:
    """What a running stage may use.

    Attributes:
        run: the run folder, for `log`.
        name: of the stage.
        outputs: empty folder; every file left in it is an output.
        checkpoints: folder that survives a kill; holds what earlier attempts with the same key left.
    """

    run: RunFolder
    name: str
    outputs: Path
    checkpoints: Path

    def log(self, event: str, **values: Json) -> None:
        """Appends an event of this stage to the run's log."""
        self.run.log(self.name, event, **values)


@dataclass(frozen=True)
class Stage:
    """A unit of work that is done once.

    Attributes:
        name: also the name of its folder: letters, digits, "-" and "_".
        action: does the work; leaves files in `context.outputs`, returns small results (JSON).
        configuration: the values (JSON) that the result depends on.
        inputs: label -> digest of what goes in: `StageResult.digest`, `file_digest(...)`.
        code: import names of the packages whose source the result depends on; empty: all of ours.
    """

    name: str
    action: Callable[[StageContext], Mapping[str, Json] | None]
    configuration: Json = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    code: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """SHA-256 of everything the result depends on."""
        return hash_json(
            {
                "name": self.name,
                "configuration": self.configuration,
                "inputs": dict(self.inputs),
                "code": code_version(*self.code),
            }
        )


@dataclass(frozen=True)
class StageResult:
    """A finished stage.

    Attributes:
        name, key: of the stage.
        folder: where its outputs are.
        outputs: relative path -> SHA-256.
        values: the small results its action returned.
        seconds: the work took, over all attempts that are known.
        is_cached: True where it was skipped this time.
    """

    name: str
    key: str
    folder: Path
    outputs: Mapping[str, str]
    values: Mapping[str, Json]
    seconds: float
    is_cached: bool

    @property
    def digest(self) -> str:
        """SHA-256 of the outputs and values: the input digest of stages that follow."""
        return hash_json({"outputs": dict(self.outputs), "values": dict(self.values)})

    def path(self, name: str) -> Path:
        """Path of an output.

        Raises:
            ValueError: the stage has no such output.
        """
        if name not in self.outputs:
            raise ValueError(f"stage {self.name}: no output {name!r}; it has {', '.join(self.outputs) or 'none'}")
        return self.folder / name


def run_stage(run: RunFolder, stage: Stage) -> StageResult:
    """Does the stage, or returns its earlier result where the key is the same and every output is intact.

    Raises:
        ValueError: bad stage name, or the action returned something that is no JSON.
    """
    if not stage.name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"stage name: expected letters, digits, - and _, got {stage.name!r}")
    key = stage.key
    folder, work = run.path / stage.name, run.path / ".work" / stage.name
    result = _finished(folder, stage.name, key)
    if result is None and _finished(work / "outputs", stage.name, key) is not None:
        _publish(work, folder)  # a kill came just before this step
        result = _finished(folder, stage.name, key)
    if result is not None:
        if _work_key(work) == key:
            shutil.rmtree(work)  # a kill came after the results were in place
        run.log(stage.name, "cached", key=key[:16])
        return result
    _do(run, stage, key, work)
    _publish(work, folder)
    result = _finished(folder, stage.name, key)
    if result is None:
        raise ValueError(f"stage {stage.name}: outputs in {folder} changed while they were being written")
    run.log(stage.name, "done", seconds=round(result.seconds, 3), **dict(result.values))
    return StageResult(**{**vars(result), "is_cached": False})


def _do(run: RunFolder, stage: Stage, key: str, work: Path) -> None:
    """Runs the action in the stage's work folder, and writes the marker last."""
    is_resumed = _prepare(work, key)
    context = StageContext(run, stage.name, work / "outputs", work / "checkpoints")
    run.log(stage.name, "begin", key=key[:16], resumed=is_resumed)
    start = time.monotonic()
    values = dict(stage.action(context) or {})
    canonical_json(values)  # raises ValueError where it is no JSON
    marker = {
        "key": key,
        "name": stage.name,
        "configuration": stage.configuration,
        "inputs": dict(stage.inputs),
        "seconds": time.monotonic() - start,
        "values": values,
        "outputs": hash_tree(context.outputs),
    }
    write_json(context.outputs / _MARKER, marker)


def _prepare(work: Path, key: str) -> bool:
    """Empties the work folder, except for checkpoints of an attempt with the same key. True where there are any."""
    if _work_key(work) != key:
        shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(work / "outputs", ignore_errors=True)
    (work / "outputs").mkdir(parents=True)
    (work / "checkpoints").mkdir(exist_ok=True)
    (work / "key").write_text(key)
    return any((work / "checkpoints").iterdir())


def _work_key(work: Path) -> str | None:
    """Key of the attempt that left the work folder."""
    file = work / "key"
    return file.read_text() if file.is_file() else None


def _publish(work: Path, folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    os.rename(work / "outputs", folder)
    shutil.rmtree(work)


def _finished(folder: Path, name: str, key: str) -> StageResult | None:
    """The result that lies in `folder`, or None where it is another one, incomplete or damaged."""
    if not (folder / _MARKER).is_file():
        return None
    try:
        marker = read_json(folder / _MARKER)
    except ValueError:
        return None
    if not isinstance(marker, dict) or marker.get("key") != key:
        return None
    outputs = {path: digest for path, digest in hash_tree(folder).items() if path != _MARKER}
    if outputs != marker["outputs"]:
        return None
    return StageResult(name, key, folder, outputs, marker["values"], marker["seconds"], True)


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file that goes into a stage.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return hash_file(path)
