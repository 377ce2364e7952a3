import json
from pathlib import Path

import numpy as np
import pytest
import torch

from picojoule.errors import ConfigError, UserError, did_you_mean, user_errors_exit, user_message
from picojoule.torchvision_ops import nms


def message_of(action):
    try:
        action()
    except Exception as error:
        return user_message(error)
    raise AssertionError("nothing was raised")


def test_user_errors_have_a_message(tmp_path):
    assert message_of(lambda: nms(torch.zeros(3, 5), torch.zeros(3), 0.5)).startswith("nms: expected boxes")
    assert message_of(lambda: (_ for _ in ()).throw(UserError("a"))) == "a"
    missing = tmp_path / "x.toml"
    assert message_of(missing.read_text) == f"{missing}: no such file or directory"
    assert message_of(tmp_path.read_text) == f"{tmp_path}: is a directory"


@pytest.mark.parametrize(
    "action",
    [
        lambda: np.zeros(3).reshape(2, 2),
        lambda: int("x"),
        lambda: json.loads("{"),
        lambda: {}["x"],
        lambda: (_ for _ in ()).throw(ValueError("raised by a test, not by one of our packages")),
        lambda: nms("x", None, 0.5),
        lambda: 1 / 0,
    ],
)
def test_unexpected_errors_keep_their_traceback(action):
    assert message_of(action) is None
    with pytest.raises(Exception) as caught, user_errors_exit():
        action()
    assert not isinstance(caught.value, SystemExit)


def test_a_library_error_inside_our_code_is_unexpected(monkeypatch):
    """`int("x")` in our module is a bug of ours, even though the innermost Python frame is ours."""
    scope = {"__name__": "picojoule.fake"}
    exec("def f():\n    int('x')\ndef g():\n    raise ValueError('ours')", scope)
    assert message_of(scope["f"]) is None
    assert message_of(scope["g"]) == "ours"


def test_exit(capsys):
    with pytest.raises(SystemExit) as caught, user_errors_exit():
        raise ConfigError(["a.toml:1: x: bad", "a.toml:2: y: bad"])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: a.toml:1: x: bad\nerror: a.toml:2: y: bad\n"


def test_system_exit_and_interrupt_pass_through():
    for kind in (SystemExit, KeyboardInterrupt):
        with pytest.raises(kind), user_errors_exit():
            raise kind


def test_did_you_mean():
    assert did_you_mean("mac", {"macs", "criterion"}) == "; did you mean 'macs'?"
    assert did_you_mean("zzz", {"b", "a"}) == "; known: a, b"
    assert did_you_mean("zzz", ()) == ""


def test_chained_error_of_ours_counts():
    scope = {"__name__": "deploy.fake", "Path": Path}
    exec(
        "def f():\n    try:\n        int('x')\n    except ValueError as e:\n        raise ValueError('clear') from e",
        scope,
    )
    assert message_of(scope["f"]) == "clear"
