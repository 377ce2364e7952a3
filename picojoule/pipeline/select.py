"""Stage "select": one circuit per layer. The whole predicted front, some of its points measured bit-exactly on
validation images, and the cheapest measured point that keeps the budget."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

import torch

from approx import Choice, LayerTrace, Operands, QuantisedNetwork, accuracy, correct, layer_moments, load_traces
from deploy.energy import account
from deploy.hardware import Hardware
from deploy.workload import LayerWorkload, workloads_of_module
from multipliers import Library, Multiplier
from noise_models import (
    Degradation,
    FisherDegradation,
    Front,
    FrontPoint,
    Sensitivity,
    Tolerance,
    ToleranceDegradation,
    error_model,
    greedy,
    knapsack,
    list_candidates,
    uniform,
)
from picojoule.config import SelectConfig
from picojoule.data import Loader
from picojoule.files import Json
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import ASSIGNMENT, float_network, quantised_network
from picojoule.pipeline.savings import multiplication_saved
from picojoule.pipeline.tolerate import SENSITIVITY, TOLERANCE, TRACES
from picojoule.progress import progress
from picojoule.stages import Stage, StageContext, StageResult, run_stage
from picojoule.verbs import DEFAULT_HARDWARE

FRONT = "front.json"
UNIFORM = "uniform.json"
POINT = "point{:02}.json"
GREEDY_SCALES = tuple(2.0 ** (k / 2) for k in range(-8, 9))
NEGLIGIBLE = 1e-9


class HardwareEnergy:
    """Cost of a choice: multiplication plus what the weight coding adds, on a device, relative to all-exact."""

    def __init__(self, workloads: tuple[LayerWorkload, ...], hardware: Hardware) -> None:
        self.hardware, self.workloads = hardware, {w.name: w for w in workloads}
        self.whole = account(workloads, {}, hardware).before("multiplication").value

    def __call__(self, trace: LayerTrace, choice: Choice, multiplier: Multiplier) -> float:
        work, circuit = self.workloads[trace.name], (multiplier, choice.operands.value)
        report = account([work], {trace.name: circuit}, self.hardware)
        return (report.after("multiplication").value + report.after("operand_overhead").value) / self.whole


@dataclass(frozen=True)
class Measured:
    """A point of the front, measured on validation images before any retraining.

    Attributes:
        point: of the front.
        accuracy: share of validation images.
        saved: share of multiplication energy.
    """

    point: FrontPoint
    accuracy: float
    saved: float

    def to_json(self) -> dict[str, Json]:
        """For the stage's values."""
        return {
            "energy": self.point.energy,
            "degradation": self.point.degradation,
            "accuracy": self.accuracy,
            "saved": self.saved,
        }


def select(lab: Lab, floating: StageResult, quantised: StageResult, tolerated: StageResult) -> StageResult:
    """Runs the stage."""
    config = lab.config.select
    hardware = Hardware.load(lab.config.energy.hardware or DEFAULT_HARDWARE)
    library = allowed(lab.library, config.circuits)

    def action(context: StageContext) -> Mapping[str, Json]:
        torch.manual_seed(lab.config.seed)
        workloads = workloads_of_module(float_network(lab, floating), lab.splits.train.shape)
        cost = HardwareEnergy(workloads, hardware) if config.cost == "hardware" else None
        front, baseline = _fronts(config, library, tolerated, cost)
        front.save(context.outputs / FRONT)
        baseline.save(context.outputs / UNIFORM)
        network = quantised_network(lab, floating, quantised)
        exact = float(str(quantised.values["accuracy_validation"]))
        measured = _measure(lab, network, {w.name: w.macs for w in workloads}, front, exact)
        chosen = _choose(config, measured, exact)
        chosen.point.assignment.save(context.outputs / ASSIGNMENT)
        for number, candidate in enumerate(measured):
            candidate.point.assignment.save(context.outputs / POINT.format(number))
        return {
            "points": len(front),
            "chosen": measured.index(chosen),
            "measured": [m.to_json() for m in measured],
        }

    inputs = {"float": floating.digest, "quantise": quantised.digest, "tolerate": tolerated.digest}
    configuration = {
        "seed": lab.config.seed,
        "select": config.model_dump(mode="json"),
        "calibration_images": lab.config.data.calibration_images,
        "hardware": hardware.content_hash,
        "library": {name: circuit.content_hash for name, circuit in library.items()},
    }
    code = ("noise_models", "approx", "multipliers", "deploy.energy", "picojoule.pipeline.select")
    return run_stage(lab.run, Stage("select", action, configuration, inputs, code))


def allowed(library: Library, patterns: tuple[str, ...]) -> Library:
    """The circuits whose names match one of the patterns; all without patterns.

    Raises:
        ValueError: a pattern matches nothing.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in library):
            raise ValueError(f"[select] circuits: {pattern!r} matches none of the library's {len(library)} circuits")
    wanted = [c for name, c in library.items() if not patterns or any(fnmatchcase(name, p) for p in patterns)]
    return Library(wanted)


def _fronts(
    config: SelectConfig, library: Library, tolerated: StageResult, cost: Callable[..., float] | None
) -> tuple[Front, Front]:
    traces = load_traces(tolerated.path(TRACES))
    operands = [Operands(name) for name in config.operands]
    with progress("predict", len(traces) * len(operands)) as step:
        candidates = list_candidates(
            traces,
            library,
            error_model(config.error_model),
            _degradation(tolerated),
            operands,
            cost,
            lambda done, total, name: step(name),
        )
    if config.method == "greedy":
        front = greedy(candidates, Tolerance.load(tolerated.path(TOLERANCE)), GREEDY_SCALES)
    else:
        front = knapsack(candidates)
    return front, uniform(candidates)


def _degradation(tolerated: StageResult) -> Degradation:
    if SENSITIVITY in tolerated.outputs:
        return FisherDegradation(Sensitivity.load(tolerated.path(SENSITIVITY)))
    return ToleranceDegradation(Tolerance.load(tolerated.path(TOLERANCE)))


def _measure(
    lab: Lab, network: QuantisedNetwork, macs: Mapping[str, int], front: Front, exact: float
) -> list[Measured]:
    """Measures points: half of the allowance halves the front towards the budget, the rest fills it up."""
    config, data = lab.config.select, lab.config.data
    count = min(config.candidate_images or len(lab.splits.validation), len(lab.splits.validation))
    validation = Loader(lab.splits.validation.take(slice(count)), data.evaluation_batch_size)
    images = torch.cat(lab.batches(data.calibration_images))
    wanted = layer_moments(network, images)
    points = [p for p in front if p.degradation > NEGLIGIBLE] or list(front)
    found: dict[int, Measured] = {}
    with progress("measure", min(config.candidates, len(points))) as step:

        def measure(index: int) -> Measured:
            if index not in found:
                assignment = points[index].assignment
                candidate = copy.deepcopy(network).assign(assignment, lab.library)
                top1 = accuracy(correct(candidate, images, wanted), validation)
                found[index] = Measured(points[index], top1, multiplication_saved(assignment, macs, lab.library))
                step(f"{100 * found[index].accuracy:.2f} % at energy {points[index].energy:.3f}")
            return found[index]

        low, high = -1, len(points) - 1  # the budget is broken at low and kept at high, as far as is known
        while high - low > 1 and len(found) < -(-config.candidates // 2):
            middle = (low + high) // 2
            low, high = (low, middle) if _keeps(config, measure(middle), exact) else (middle, high)
        while len(found) < min(config.candidates, len(points)):
            measure(_widest_gap(points, sorted(found)))
    return [found[index] for index in sorted(found)]


def _widest_gap(points: list[FrontPoint], known: list[int]) -> int:
    """The point nearest the middle of the widest gap in energy, the dearest point counted as known."""
    ends = sorted({*known, len(points) - 1})
    gaps = [(points[b].energy - points[a].energy, a, b) for a, b in pairwise(ends) if b - a > 1]
    if not gaps:
        return next(index for index in reversed(range(len(points))) if index not in known)
    _, a, b = max(gaps)
    middle = (points[a].energy + points[b].energy) / 2
    return min(range(a + 1, b), key=lambda index: abs(points[index].energy - middle))


def _keeps(config: SelectConfig, measured: Measured, exact: float) -> bool:
    name, bound = config.budget
    if name == "max_loss":
        return 100 * (exact - measured.accuracy) <= bound
    value = measured.point.degradation if name == "max_degradation" else measured.point.energy
    return value <= bound


def _choose(config: SelectConfig, measured: list[Measured], exact: float) -> Measured:
    """The cheapest measured point within the budget (the most accurate one for an energy budget).

    Raises:
        ValueError: none is; says what the closest is.
    """
    fitting = [m for m in measured if _keeps(config, m, exact)]
    name, bound = config.budget
    if not fitting:
        closest = max(measured, key=lambda m: m.accuracy) if name != "energy" else measured[0]
        raise ValueError(
            f"no measured point of the front keeps {name} {bound:g}; the closest loses "
            f"{100 * (exact - closest.accuracy):.2f} pp at energy {closest.point.energy:.3f} "
            f"and degradation {closest.point.degradation:.3g}; allow that, or add circuits"
        )
    if name == "energy":
        return max(fitting, key=lambda m: m.accuracy)
    return min(fitting, key=lambda m: m.point.energy)
