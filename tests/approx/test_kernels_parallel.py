"""Tasks run once each, on torch's number of threads, and their errors come back."""

import threading
from collections import Counter

import pytest
import torch

from approx.kernels import parallel


@pytest.fixture(params=["openmp", "pool"])
def launcher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pool":
        monkeypatch.setattr(parallel, "_openmp_launcher", lambda: None)
    elif parallel._openmp_launcher() is None:
        pytest.skip("torch has no OpenMP entry point here")
    return request.param


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
def test_every_task_runs_once(launcher: str, two_threads: None, count: int) -> None:
    seen: Counter[int] = Counter()
    lock = threading.Lock()

    def task(i: int) -> None:
        with lock:
            seen[i] += 1

    parallel.run_parallel([lambda i=i: task(i) for i in range(count)])
    assert seen == Counter(range(count))


def test_two_threads_work_at_the_same_time(launcher: str, two_threads: None) -> None:
    meeting = threading.Barrier(2)
    parallel.run_parallel([lambda: meeting.wait(timeout=20)] * 2)  # a single thread would wait for itself


def test_one_thread_is_the_caller(two_threads: None) -> None:
    torch.set_num_threads(1)
    threads: list[int] = []
    parallel.run_parallel([lambda: threads.append(threading.get_ident())] * 3)
    assert set(threads) == {threading.get_ident()}


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_stops_the_rest_and_is_raised(launcher: str, two_threads: None, threads: int) -> None:
    torch.set_num_threads(threads)
    done: list[int] = []

    def fail() -> None:
        raise KeyError("broken task")

    with pytest.raises(KeyError, match="broken task"):
        parallel.run_parallel([fail, fail] + [lambda: done.append(1)] * 50)
    assert not done
    parallel.run_parallel([lambda: done.append(2)] * 4)
    assert done == [2] * 4
