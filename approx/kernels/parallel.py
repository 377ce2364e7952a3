"""Runs independent kernel calls on as many threads as torch uses.

Kernels release the interpreter lock. The threads are those of torch's own OpenMP runtime where it can be
found (`GOMP_parallel`, the stable entry point that compiled OpenMP code calls): between two torch operations
those threads spin on the other cores, and a second set of threads would compete with them (measured: no gain
at all from two threads). Elsewhere a Python thread pool does the work.
"""

import ctypes
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

Task = Callable[[], None]


def run_parallel(tasks: Iterable[Task]) -> None:
    """Runs every task, on `torch.get_num_threads()` threads; tasks are taken in order as threads become free.

    Raises:
        Exception: the first one a task raised; tasks not yet started are dropped.
    """
    tasks = list(tasks)
    threads = min(torch.get_num_threads(), len(tasks))
    if threads <= 1:
        for task in tasks:
            task()
        return
    remaining = iter(tasks)
    errors: list[BaseException] = []

    def drain() -> None:
        _drain(remaining, errors)

    launch = _openmp_launcher()
    if launch is None:
        pool = _pool(threads)
        others = [pool.submit(drain) for _ in range(threads - 1)]
        drain()
        for other in others:
            other.result()
    else:
        launch(drain, threads)
    if errors:
        raise errors[0]


def _drain(remaining: Iterator[Task], errors: list[BaseException]) -> None:
    """Takes tasks (`next` on a list iterator is atomic) until none is left; an exception ends all threads."""
    for task in remaining:
        try:
            task()
        except BaseException as error:  # crosses a C frame: kept here and raised again by the caller
            errors.append(error)
            for _ in remaining:
                pass


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="picojoule-kernel")


@cache
def _openmp_launcher() -> Callable[[Task, int], None] | None:
    """Launcher on the OpenMP runtime torch is linked with, or None where there is no such entry point."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        parallel: Any = ctypes.CDLL(str(library)).GOMP_parallel  # found among the library's own dependencies
    except (OSError, AttributeError):
        return None
    body_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    parallel.restype = None
    parallel.argtypes = [body_type, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]

    def launch(body: Task, threads: int) -> None:
        parallel(body_type(lambda _: body()), None, threads, 0)

    return launch
