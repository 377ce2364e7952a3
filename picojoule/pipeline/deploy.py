"""Stage "deploy": the integer program, every back end built from it, and the check that all give its integers."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deploy.build import build
from deploy.golden import GoldenVectors, compare_golden, make_golden, save_golden
from deploy.onnx_backend import export_onnx, run_onnx
from deploy.program import Program
from deploy.program_file import save_program
from deploy.targets import TARGETS, target
from deploy.tvm_backend import compile_tvm
from picojoule.errors import UserError
from picojoule.files import Json
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import load_quantised
from picojoule.stages import StageContext, StageResult

PROGRAM = "program.safetensors"


def deploy(lab: Lab, retrained: StageResult) -> StageResult:
    """Runs the stage."""
    config = lab.config.deploy
    unknown = [name for name in config.targets if name not in ("onnx", "tvm", *TARGETS)]
    if unknown:
        raise UserError(f"[deploy] targets: unknown {unknown}; known are onnx, tvm, {', '.join(TARGETS)}")

    def action(context: StageContext) -> Mapping[str, Json]:
        program = build(load_quantised(lab, retrained), lab.config.model.name)
        save_program(program, context.outputs / PROGRAM)
        images, _ = lab.splits.test[: config.golden_images]
        golden = make_golden(program, program.quantise_input(images.numpy()))
        save_golden(golden, context.outputs / "golden.safetensors")
        built = {name: _build(name, program, golden, context.outputs) for name in config.targets}
        return {"golden_images": len(golden.inputs), "targets": built}

    configuration = config.model_dump(mode="json")
    return lab.stage("deploy", action, configuration, {"retrain": retrained}, ("deploy", "multipliers"))


def _build(name: str, program: Program, golden: GoldenVectors, folder: Path) -> Json:
    """Builds one back end and compares its integers; what it says about itself."""
    if name in TARGETS:
        artifact = target(name).build(program, folder / name, golden)
        return {
            "equal": None if all(c.outcome == "skipped" for c in artifact.checks) else artifact.passed,
            "images_different": 0 if artifact.passed else len(golden.inputs),
            "checks": [f"{check.name}: {check.outcome}, {check.detail}" for check in artifact.checks],
            "flash_bytes": artifact.sizes.flash,
            "ram_bytes": artifact.sizes.ram,
            "stack_bytes": artifact.sizes.stack,
            "instructions": artifact.instructions,
        }
    run: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.int16]]
    if name == "onnx":
        path = export_onnx(program, folder / "program.onnx")

        def run(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
            return run_onnx(path, codes)
    else:
        module = compile_tvm(program)
        path, run = module.export(folder / "program_tvm.so"), module.run
    outputs = run(golden.inputs)
    comparison = compare_golden(golden, outputs)
    return {
        "equal": comparison.equal,
        "images_different": int((outputs != golden.outputs).any(1).sum()),
        "checks": [comparison.first or f"{comparison.vectors} images equal, integer for integer"],
        "file_bytes": path.stat().st_size,
    }
