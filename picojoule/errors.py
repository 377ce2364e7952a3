"""Which exceptions are the user's to fix: one clear line and exit code 2. Everything else keeps its traceback."""

import difflib
import dis
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

OUR_PACKAGES = frozenset({"picojoule", "deploy", "noise_models", "pruning", "approx", "multipliers"})
EXIT_CODE = 2
_FILE_ERRORS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)


class UserError(ValueError):
    """Something the user can put right: the message says what was expected, what came, where, and what to do."""


class ConfigError(UserError):
    """Everything that is wrong with a run configuration, one problem a line.

    Attributes:
        problems: each "file:line: section.key: what is wrong".
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'macs'?" where a known name is close, otherwise the known names, otherwise nothing."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""


def _raised_by_us(traceback: TracebackType | None) -> bool:
    """True where the exception came from a `raise` statement in one of our packages, not from inside a library."""
    if traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    frame = traceback.tb_frame
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    opcode = dis.opname[frame.f_code.co_code[traceback.tb_lasti]]
    return package in OUR_PACKAGES and opcode == "RAISE_VARARGS"


def user_message(error: BaseException) -> str | None:
    """What to tell the user about an exception, or None where it is unexpected and deserves its traceback.

    User errors are `UserError` and its subclasses, a `ValueError` or `ImportError` that our own code raised on
    purpose, and the operating system's refusal of a file that it names.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, _FILE_ERRORS) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or type(error).__name__).lower()}"
    is_ours = isinstance(error, ValueError | ImportError | FileNotFoundError) and _raised_by_us(error.__traceback__)
    return str(error) if is_ours else None


@contextmanager
def user_errors_exit() -> Iterator[None]:
    """Turns user errors into lines on standard error and exit code 2; the CLI wraps every command in it."""
    try:
        yield
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        for line in message.splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(EXIT_CODE) from None
