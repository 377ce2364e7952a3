"""How long-running work says where it is."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all or 0 when unknown, text)."""
