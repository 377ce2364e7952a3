"""Stage "energy": picojoules per image of the original, the pruned and the approximate network."""

from collections.abc import Mapping

from approx import Assignment
from deploy.energy import account, account_assignment
from deploy.hardware import Hardware
from deploy.workload import workloads_of_module
from picojoule.files import Json, write_json
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import ASSIGNMENT, load_network
from picojoule.pipeline.savings import library_key
from picojoule.stages import StageContext, StageResult
from picojoule.verbs import DEFAULT_HARDWARE

ENERGY = "energy.json"
ORIGINAL = "original.json"


def energy(lab: Lab, prepared: StageResult, floating: StageResult, selected: StageResult) -> StageResult:
    """Runs the stage."""
    hardware = Hardware.load(lab.config.energy.hardware or DEFAULT_HARDWARE)

    def action(context: StageContext) -> Mapping[str, Json]:
        shape = lab.splits.train.shape
        original = account(workloads_of_module(load_network(lab, prepared), shape), {}, hardware)
        workloads = workloads_of_module(load_network(lab, floating), shape)
        report = account_assignment(workloads, Assignment.load(selected.path(ASSIGNMENT)), lab.library, hardware)
        write_json(context.outputs / ORIGINAL, original.to_json())
        write_json(context.outputs / ENERGY, report.to_json())
        before, after = original.before("multiplication").value, report.after("multiplication").value
        return {
            "macs_before": sum(layer.workload.macs for layer in original.layers),
            "macs_after": sum(layer.workload.macs for layer in report.layers),
            "parameters_before": sum(layer.workload.weights for layer in original.layers),
            "parameters_after": sum(layer.workload.weights for layer in report.layers),
            "original_pj": original.total_before_pj,
            "exact_pj": report.total_before_pj,
            "approximate_pj": report.total_after_pj,
            "multiplication_share_before": original.shares()["multiplication"],
            "multiplication_share_after": report.shares(after=True)["multiplication"],
            "energy_saved_multiplication": report.saved_multiplication,
            "energy_saved_total": report.saved_total,
            "energy_saved_multiplication_with_pruning": 1 - after / before,
            "energy_saved_total_with_pruning": 1 - report.total_after_pj / original.total_before_pj,
        }

    configuration: dict[str, Json] = {"hardware": hardware.content_hash, "library": library_key(lab.library)}
    inputs = {"prepare": prepared, "float": floating, "select": selected}
    return lab.stage("energy", action, configuration, inputs, ("deploy", "multipliers"))
