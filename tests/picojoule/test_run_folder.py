import json
import os
import platform
import signal
import subprocess
import sys
import time

import pytest

from picojoule.config import load_config, parse_config
from picojoule.errors import UserError
from picojoule.files import atomic_path, hash_tree, read_json, write_json
from picojoule.run_folder import RunFolder, RunFolderBusyError, read_log

CONFIG = parse_config('[model]\nname="m"\nweights="w"\n[data]\nname="digits"')


def test_begin_writes_configuration_and_environment(tmp_path):
    with RunFolder(tmp_path / "a" / "run") as run:
        run.begin(CONFIG)
        assert load_config(run.path / "config.toml") == CONFIG
        environment = read_json(run.path / "environment.json")
        assert environment["python"] == platform.python_version()
        assert environment["packages"]["torch"]
        text = (run.path / "environment.json").read_text()
        assert platform.node() not in environment.values()
        assert os.path.expanduser("~") not in text
        assert str(tmp_path) not in text


def test_log_is_one_object_a_line(tmp_path):
    with RunFolder(tmp_path) as run:
        run.log("train", "epoch", epoch=1, loss=0.5, note="two\nlines µ")
        run.log("train", "epoch", epoch=2, loss=float("nan"))
        lines = (tmp_path / "log.jsonl").read_text().splitlines()
        assert len(lines) == 2
        first = json.loads(lines[0])
        assert list(first)[:3] == ["time", "stage", "event"]
        assert first["note"] == "two\nlines µ"
        assert run.read_log()[1]["loss"] == "nan"


def test_log_survives_a_cut_line(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"stage": "a", "event": "x"}\n{"stage": "b", "ev')
    with RunFolder(tmp_path) as run:
        run.log("c", "begin")
    assert [event["stage"] for event in read_log(tmp_path / "log.jsonl")] == ["a", "c"]


def test_failure_is_logged(tmp_path):
    with pytest.raises(RuntimeError), RunFolder(tmp_path):
        raise RuntimeError("boom")
    assert read_log(tmp_path / "log.jsonl")[-1]["error"] == "RuntimeError: boom"
    with RunFolder(tmp_path):
        pass


def test_one_process_at_a_time(tmp_path):
    script = (
        "import sys, time\nfrom picojoule.run_folder import RunFolder\n"
        "run = RunFolder(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunFolderBusyError, match=f"in use by process {holder.pid} since .*; wait for it, or"):
            RunFolder(tmp_path)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with RunFolder(tmp_path), pytest.raises(RunFolderBusyError):  # the lock of a killed process was free
        RunFolder(tmp_path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(UserError, match="expected a folder"):
        RunFolder(tmp_path / "f")


def test_atomic_write_keeps_the_old_file_on_error(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": object()})
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    with pytest.raises(KeyError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert read_json(path) == {"a": 1}
    assert list(hash_tree(tmp_path)) == ["x.json"]
    path.write_text("{")
    with pytest.raises(ValueError, match=r"x\.json:1: broken JSON"):
        read_json(path)


def test_atomic_write_under_sigkill(tmp_path):
    """A writer killed at random moments never leaves a part of a file under its name."""
    script = (
        "import sys\nfrom picojoule.files import write_json\nn = 0\nprint('go', flush=True)\n"
        "while True:\n    n += 1\n    write_json(sys.argv[1], [n] * 20000)"
    )
    path = tmp_path / "x.json"
    for delay in (0.01, 0.05):
        writer = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True)
        writer.stdout.readline()
        time.sleep(delay)
        writer.kill()
        writer.wait()
        if path.exists():
            assert len(read_json(path)) == 20000
