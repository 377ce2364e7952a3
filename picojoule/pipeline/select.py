"""Stage "select": one circuit per layer. The whole predicted front, some of its points measured bit-exactly on
validation images, and the cheapest measured point that keeps the budget."""

from collections.abc import Callable, Iterator, Mapping

import torch

from approx import Choice, LayerTrace, Operands, QuantisedNetwork, load_traces
from deploy.energy import account
from deploy.hardware import Hardware
from deploy.workload import LayerWorkload, workloads_of_module
from multipliers import Library, Multiplier
from noise_models import (
    SELECTORS,
    Degradation,
    Evolution,
    FisherDegradation,
    Front,
    Limits,
    Selection,
    Sensitivity,
    Tolerance,
    ToleranceDegradation,
    error_model,
    list_candidates,
    uniform,
    without_drowned,
)
from picojoule.config import SelectConfig
from picojoule.files import Json
from picojoule.libraries import allowed
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import ASSIGNMENT, EXACT, WEIGHTS, load_network, load_quantised, save_network
from picojoule.pipeline.savings import library_key
from picojoule.pipeline.search import Search
from picojoule.pipeline.tolerate import SENSITIVITY, TOLERANCE, TRACES
from picojoule.progress import progress
from picojoule.stages import StageContext, StageResult
from picojoule.verbs import DEFAULT_HARDWARE

FRONT = "front.json"
UNIFORM = "uniform.json"
POINT = "point{:02}.json"
POINT_WEIGHTS = "point{:02}.safetensors"


class HardwareEnergy:
    """Cost of a choice: multiplication plus what the weight coding adds, on a device, relative to all-exact."""

    def __init__(self, workloads: tuple[LayerWorkload, ...], hardware: Hardware) -> None:
        self.hardware, self.workloads = hardware, {w.name: w for w in workloads}
        self.whole = account(workloads, {}, hardware).before("multiplication").value

    def __call__(self, trace: LayerTrace, choice: Choice, multiplier: Multiplier) -> float:
        work, circuit = self.workloads[trace.name], (multiplier, choice.operands.value)
        report = account([work], {trace.name: circuit}, self.hardware)
        return (report.after("multiplication").value + report.after("operand_overhead").value) / self.whole


def select(lab: Lab, floating: StageResult, quantised: StageResult, tolerated: StageResult) -> StageResult:
    """Runs the stage."""
    config = lab.config.select
    hardware = Hardware.load(lab.config.energy.hardware or DEFAULT_HARDWARE)
    library = allowed(lab.library, config.circuits)

    def action(context: StageContext) -> Mapping[str, Json]:
        torch.manual_seed(lab.config.seed)
        workloads = workloads_of_module(load_network(lab, floating), lab.splits.train.shape)
        cost = HardwareEnergy(workloads, hardware) if config.cost == "hardware" else None
        front, baseline = _fronts(config, library, tolerated, cost, lab.config.seed)
        front.save(context.outputs / FRONT)
        baseline.save(context.outputs / UNIFORM)
        networks = load_quantised(lab, quantised), load_quantised(lab, quantised, EXACT)
        search = Search(lab, *networks, {w.name: w.macs for w in workloads})
        measured = search.run(front)
        chosen = search.choose(measured)
        chosen.point.assignment.save(context.outputs / ASSIGNMENT)
        for number, candidate in enumerate(measured):
            candidate.point.assignment.save(context.outputs / POINT.format(number))
            step: dict[str, Json] = {"assignment": candidate.point.assignment.to_json()}
            save_network(
                context, candidate.network, ("approximate", step), quantised.path(WEIGHTS), POINT_WEIGHTS.format(number)
            )
        return {
            "points": len(front),
            "chosen": measured.index(chosen),
            "measured": [m.to_json() for m in measured],
            "accuracy_exact": search.exact,
        }

    configuration: dict[str, Json] = {
        "select": config.model_dump(mode="json"),
        "hardware": hardware.content_hash,
        "library": library_key(library),
    }
    inputs = {"float": floating, "quantise": quantised, "tolerate": tolerated}
    code = ("noise_models", "multipliers", "deploy", "picojoule.pipeline.search", "picojoule.pipeline.savings")
    return lab.stage("select", action, configuration, inputs, code)


def chosen_file(selected: StageResult) -> str:
    """Name of the checkpoint of the chosen point's network."""
    return POINT_WEIGHTS.format(selected.values["chosen"])


def point_networks(lab: Lab, selected: StageResult) -> Iterator[QuantisedNetwork]:
    """The networks of all points that were measured, cheapest first."""
    for name in sorted(n for n in selected.outputs if n.startswith("point") and n.endswith(".safetensors")):
        yield load_quantised(lab, selected, name)


def _fronts(
    config: SelectConfig, library: Library, tolerated: StageResult, cost: Callable[..., float] | None, seed: int
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
            config.tune,
        )
    with progress("select", 1) as step:
        limits = Limits(circuits=config.circuits_at_most, area_um2=config.area_um2, pins=config.pins)
        selection = Selection(
            without_drowned(candidates, traces, limits),
            limits,
            Tolerance.load(tolerated.path(TOLERANCE)),
            Evolution(config.evaluations, seed=seed),
        )
        front = SELECTORS[config.method](selection)
        step(f"{len(front)} points")
    return front, uniform(without_drowned(candidates, traces))


def _degradation(tolerated: StageResult) -> Degradation:
    if SENSITIVITY in tolerated.outputs:
        return FisherDegradation(Sensitivity.load(tolerated.path(SENSITIVITY)))
    return ToleranceDegradation(Tolerance.load(tolerated.path(TOLERANCE)))
