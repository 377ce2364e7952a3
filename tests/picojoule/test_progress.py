import io

import pytest

import picojoule.progress as module
from picojoule.progress import progress, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_off_terminal_writes_few_lines():
    stream = io.StringIO()
    assert list(track(range(500), "retrain", stream=stream)) == list(range(500))
    assert stream.getvalue() == "retrain 500/500 (100 %), 0 s\n"


def test_line_every_ten_seconds(monkeypatch):
    now = iter(range(0, 1000, 4))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(now)))
    stream = io.StringIO()
    reporter = module._LineReporter("search", 8, stream, clock=lambda: float(next(now)))
    for i in range(8):
        reporter(f"best {i}")
    lines = stream.getvalue().splitlines()
    assert 2 <= len(lines) <= 4
    assert all(line.startswith("search ") and "best" in line for line in lines)


def test_terminal_gets_a_bar():
    stream = Terminal()
    assert list(track((i for i in range(7)), "prune", total=7, stream=stream)) == list(range(7))
    assert "prune" in stream.getvalue()
    assert "7/7" in stream.getvalue()


def test_unknown_length_and_notes():
    stream = io.StringIO()
    with progress("fetch", stream=stream) as step:
        step("half", steps=3)
    assert stream.getvalue() == "fetch 3, 0 s, half\n"


def test_default_stream_is_standard_error(capsys):
    assert list(track([1, 2], "x")) == [1, 2]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("x 2/2")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_errors_and_early_exit_pass_through(stream):
    with pytest.raises(RuntimeError, match="boom"):
        for item in track(range(3), "x", stream=stream):
            if item == 1:
                raise RuntimeError("boom")
    for _ in track(range(3), "x", stream=stream):
        break
