import json
import os
import shutil
import signal
from types import SimpleNamespace

import pytest

from picojoule import stages
from picojoule.code_version import code_version
from picojoule.run_folder import RunFolder
from picojoule.stages import Stage, file_digest, run_stage


def make(calls, name="prune", text="result", **changes):
    def action(context):
        calls.append(name)
        (context.outputs / "deep").mkdir()
        (context.outputs / "deep" / "a.txt").write_text(text)
        return {"accuracy": 0.5}

    return Stage(name, action, **{"configuration": {"macs": 0.5}, "code": ("picojoule.stages",), **changes})


@pytest.fixture
def run(tmp_path):
    with RunFolder(tmp_path / "run") as folder:
        yield folder


def test_done_once(run):
    calls = []
    first, second = run_stage(run, make(calls)), run_stage(run, make(calls))
    assert calls == ["prune"]
    assert (first.is_cached, second.is_cached) == (False, True)
    assert first.digest == second.digest
    assert second.values == {"accuracy": 0.5}
    assert second.path("deep/a.txt").read_text() == "result"
    assert not (run.path / ".work" / "prune").exists()
    with pytest.raises(ValueError, match=r"no output 'b'; it has deep/a\.txt"):
        second.path("b")
    assert [e["event"] for e in run.read_log()] == ["begin", "done", "cached"]


@pytest.mark.parametrize(
    "change", [{"configuration": {"macs": 0.4}}, {"inputs": {"model": "x"}}, {"code": ("picojoule.files",)}]
)
def test_redone_when_what_it_depends_on_changes(run, change):
    calls = []
    run_stage(run, make(calls))
    run_stage(run, make(calls, text="new", **change))
    assert len(calls) == 2
    assert (run.path / "prune" / "deep" / "a.txt").read_text() == "new"


@pytest.mark.parametrize("damage", ["change", "delete", "add", "marker", "marker-cut", "folder"])
def test_redone_when_outputs_are_not_intact(run, damage):
    calls = []
    result = run_stage(run, make(calls))
    file, marker = result.path("deep/a.txt"), result.folder / "stage.json"
    {
        "change": lambda: file.write_text("resulx"),
        "delete": file.unlink,
        "add": lambda: (result.folder / "extra").write_text(""),
        "marker": marker.unlink,
        "marker-cut": lambda: marker.write_text(marker.read_text()[:40]),
        "folder": lambda: (file.unlink(), file.parent.rmdir(), marker.unlink(), result.folder.rmdir()),
    }[damage]()
    assert not run_stage(run, make(calls)).is_cached
    assert len(calls) == 2
    assert file.read_text() == "result"


def test_digest_follows_contents(run):
    a = run_stage(run, make([], text="1"))
    b = run_stage(run, make([], text="2", configuration=1))
    c = run_stage(run, make([], text="1", configuration=2))
    assert a.digest == c.digest != b.digest


def test_an_exception_leaves_the_old_result_and_the_checkpoints(run):
    calls = []
    run_stage(run, make(calls))
    seen = []

    def failing(context):
        seen.append(sorted(p.name for p in context.checkpoints.iterdir()))
        seen.append(sorted(p.name for p in context.outputs.iterdir()))
        (context.checkpoints / "epoch1").write_text("1")
        (context.outputs / "half").write_text("half")
        if len(seen) < 6:
            raise RuntimeError("boom")
        return None

    stage = Stage("prune", failing, configuration="new")
    with pytest.raises(RuntimeError):
        run_stage(run, stage)
    assert run_stage(run, make(calls)).is_cached  # the earlier result is still there, for its own key
    with pytest.raises(RuntimeError):
        run_stage(run, stage)
    run_stage(run, stage)
    assert seen == [[], [], ["epoch1"], [], ["epoch1"], []]


def test_checkpoints_of_another_key_are_not_offered(run):
    def failing(context):
        assert not any(context.checkpoints.iterdir())
        (context.checkpoints / "epoch1").write_text("1")
        raise RuntimeError("boom")

    for configuration in (1, 2, 1):
        with pytest.raises(RuntimeError):
            run_stage(run, Stage("retrain", failing, configuration=configuration))


def test_bad_stages(run):
    with pytest.raises(ValueError, match="stage name"):
        run_stage(run, Stage("../x", lambda context: None))
    with pytest.raises(ValueError, match="JSON"):
        run_stage(run, Stage("x", lambda context: {"a": object()}))
    assert not (run.path / "x").exists()
    with pytest.raises(ValueError, match="nosuch"):
        code_version("nosuch")


def test_file_digest(tmp_path):
    (tmp_path / "a").write_text("x")
    assert file_digest(tmp_path / "a").startswith("2d711642b726b04401627ca9fbac32f5")
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "b")


class Pipeline:
    """Two stages, the second with checkpoints, run in a child process that may die at a numbered place."""

    def __init__(self, folder, point):
        self.folder, self.point, self.seen = folder, point, 0

    def here(self):
        self.seen += 1
        if self.seen == self.point:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function):
        def wrapped(*arguments, **keywords):
            self.here()
            result = function(*arguments, **keywords)
            self.here()
            return result

        return wrapped

    def first(self, context):
        self.here()
        (context.outputs / "a.txt").write_text("abc")
        self.here()
        return {"n": 3}

    def second(self, context, text):
        for epoch in range(len(list(context.checkpoints.iterdir())), 4):
            (context.checkpoints / f"{epoch}.txt").write_text("x")
            self.here()
        (context.outputs / "b.txt").write_text(text * 4)
        return {"epochs": len(list(context.checkpoints.iterdir()))}

    def work(self):
        for name in ("_prepare", "_publish", "write_json", "hash_tree", "_finished"):
            setattr(stages, name, self.around(getattr(stages, name)))
        stages.os = SimpleNamespace(rename=self.around(os.rename))
        stages.shutil = SimpleNamespace(rmtree=self.around(shutil.rmtree))
        with RunFolder(self.folder) as run:
            code = ("picojoule.files",)
            one = run_stage(run, Stage("first", self.first, code=code))
            text = one.path("a.txt").read_text()
            inputs = {"first": one.digest}
            two = run_stage(run, Stage("second", lambda c: self.second(c, text), inputs=inputs, code=code))
            result = [one.digest, two.digest, two.values, two.path("b.txt").read_text()]
            return json.dumps([self.seen, result])

    def start(self):
        """Exit status (negative: the signal) and what the child found."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, self.work().encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), json.loads(text) if text else None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_every_point(tmp_path):
    """SIGKILL at each place in turn; the next start gives what an unbroken run gives."""
    status, (count, expected) = Pipeline(tmp_path / "whole", 0).start()
    assert status == 0
    assert count > 30
    for point in range(1, count + 1):
        folder = tmp_path / f"broken{point}"
        assert Pipeline(folder, point).start() == (-9, None)
        status, found = Pipeline(folder, 0).start()
        assert (status, found[1]) == (0, expected), point
        assert sorted(p.name for p in folder.iterdir()) == [".lock", ".work", "first", "log.jsonl", "second"]
        assert not any((folder / ".work").iterdir()), point
        assert not list(folder.rglob("*.part"))
