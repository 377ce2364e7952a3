"""One engine on one network, in a process of its own, as a cut can fail in any way: out of time, out of memory.

Seconds are the process's own (one thread), so that a busy neighbour costs nothing, and so is the limit of time: the
system then ends the process with SIGXCPU. The process is forked after a warm-up, so no figure holds an import.
"""

import math
import multiprocessing
import resource
import signal
import time
from dataclasses import replace
from functools import cache
from multiprocessing.connection import Connection

import torch

import pruning
from benchmarks._pruning_engines import Engine, ours, peer
from benchmarks._pruning_judge import judge
from benchmarks._pruning_zoo import QUICK, Network, networks
from benchmarks._report import interleaved
from picojoule.files import Json

LIMIT_S = 150
PROOF_LIMIT_S = 1500  # grouping and cutting are what is limited; to judge a cut takes as long as it takes
SPEED_SIDE = 224
ROUNDS = 3
ENGINES: dict[str, Engine] = {"ours": ours, "peer": peer}
REFUSALS: dict[str, tuple[type[Exception], ...]] = {"ours": (ValueError,), "peer": ()}


def measure(side: str, network: Network) -> dict[str, Json]:
    """Cut a network and judge the cut: the outcome, why, and figures where there are any."""
    dense, images = network.build()
    macs = pruning.count_macs(dense, images)
    _allow(LIMIT_S)
    start = time.process_time()
    try:
        cut = ENGINES[side](network, dense, images)
    except Exception as error:  # an engine may raise anything; what ours refuses with is part of its contract
        outcome = "refused" if isinstance(error, REFUSALS[side]) else "crash"
        return {"outcome": outcome, "why": _line(error), "seconds": time.process_time() - start}
    result: dict[str, Json] = {"seconds": time.process_time() - start}
    _allow(PROOF_LIMIT_S)
    if cut.proof is not None:
        start = time.process_time()
        try:
            result["proof"] = cut.proof()
        except RuntimeError as error:
            return {"outcome": "discarded", "why": _line(error), **result}
        result["proof_seconds"] = time.process_time() - start
    cut = replace(cut, proof=None)  # gives back what the engine knows of the dense network, for memory's sake
    try:
        result["macs"] = pruning.count_macs(cut.model, images) / macs
        verdict = judge(dense, cut.model, cut.cutter, images)
    except Exception as error:  # the cut network may raise anything, too
        return {"outcome": "crash", "why": f"the cut network does not run as the dense one: {_line(error)}", **result}
    finite = math.isfinite(verdict.difference)
    result |= {"difference": verdict.difference if finite else None, "effect": verdict.effect}
    return {"outcome": _outcome(result, verdict.renormalised), "why": "", **result}


def _outcome(result: dict[str, Json], renormalised: bool) -> str:
    if result["difference"] is None or result["difference"] > pruning.TOLERANCE:
        return "wrong"
    if result["macs"] > 1 - 1e-9:
        return "untouched"
    return "renormalised" if renormalised else "correct"


def speed(network: Network) -> dict[str, Json]:
    """Grouping and cutting by both engines in turn, and what our proof takes, in seconds."""
    network = replace(network, side=SPEED_SIDE)
    dense, images = network.build()
    times = interleaved(
        lambda: ours(network, dense, images),
        lambda: peer(network, dense, images),
        ROUNDS,
        clock=time.process_time,
    )
    cut = ours(network, dense, images)
    start = time.process_time()
    assert cut.proof is not None
    cut.proof()
    return {"ours": times.ours, "peer": times.peer, "ratio": times.ratio, "proof": time.process_time() - start}


def in_process(what: str, network: Network) -> dict[str, Json]:
    """The measurement "ours", "peer" or "speed" made by a process of its own; an end without a result is one, too."""
    _warm(what)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, what, network))
    process.start()
    sender.close()
    try:
        found: dict[str, Json] = receiver.recv()
    except EOFError:
        found = {}
    process.join()
    if found:
        return found
    if process.exitcode == -signal.SIGXCPU:
        return {"outcome": "timeout", "why": f"no cut after {LIMIT_S} s", "seconds": LIMIT_S}
    if process.exitcode == -signal.SIGKILL:
        return {"outcome": "crash", "why": "killed by the system, as for want of memory", "seconds": 0.0}
    raise RuntimeError(f"{what} on {network.name} ended with {process.exitcode} and no result; see its output above")


def _send(sender: Connection, what: str, network: Network) -> None:
    sender.send(speed(network) if what == "speed" else measure(what, network))


@cache
def _warm(what: str) -> None:
    """Import what the engines import late."""
    torch.set_num_threads(1)
    for side in ENGINES if what == "speed" else (what,):
        (network,) = networks(QUICK[:1])
        ENGINES[side](network, *network.build())


def _allow(seconds: float) -> None:
    """End this process once it has used so much more processor time."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), most))


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:400]
