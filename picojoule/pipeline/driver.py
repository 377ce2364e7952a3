"""Runs the stages in order and gathers what they found."""

from pathlib import Path
from typing import Any

import torch

from approx import capture
from picojoule.config import RunConfig
from picojoule.data import load_data
from picojoule.files import write_json, write_text
from picojoule.libraries import open_library
from picojoule.models import check_input, make_model
from picojoule.pipeline.deploy import deploy
from picojoule.pipeline.energy import energy
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.measure import Done, measure
from picojoule.pipeline.prepare import prepare
from picojoule.pipeline.prune import prune, require_prunable
from picojoule.pipeline.quantise import quantise
from picojoule.pipeline.retrain import retrain
from picojoule.pipeline.select import select
from picojoule.pipeline.summary import report_of, results_of
from picojoule.pipeline.tolerate import tolerate
from picojoule.report import front_svg, write_report
from picojoule.run_folder import RunFolder

RESULTS = "results.json"
REPORT = "report.html"
PICTURE = "front.svg"


def run_pipeline(config: RunConfig, folder: Path) -> dict[str, Any]:
    """From a trained (or trainable) network to compiled program, energy account and report.

    Args:
        config: resolved.
        folder: run folder; what a killed run left there is taken up.

    Returns:
        The results, as in `results.json`: accuracies measured on the test images, MACs, energies, checks.

    Raises:
        ValueError: something of the user's is wrong; says what and where.
    """
    torch.set_num_threads(config.threads or torch.get_num_threads())
    splits, library = load_data(config.data), open_library(config.select.library, config.data.root)
    _require_usable(config, splits.train.shape)
    with RunFolder(folder) as run:
        run.begin(config)
        lab = Lab(config, run, splits, library)
        prepared = prepare(lab)
        floating = prune(lab, prepared)
        quantised = quantise(lab, floating)
        tolerated = tolerate(lab, floating, quantised)
        selected = select(lab, floating, quantised, tolerated)
        retrained = retrain(lab, floating, selected)
        deployed = deploy(lab, retrained)
        measured = measure(lab, Done(prepared, floating, quantised, selected, deployed))
        accounted = energy(lab, prepared, floating, selected)
        stages = (prepared, floating, quantised, tolerated, selected, retrained, deployed, measured, accounted)
        found = {stage.name: stage for stage in stages}
        results = {**results_of(found), "report": str(run.path / REPORT)}
        report = report_of(lab, found, results)
        write_report(report, run.path / REPORT)
        write_text(run.path / PICTURE, front_svg(report.points, report.headline.accuracy_int8))
        write_json(run.path / RESULTS, results)
        run.log("run", "end", seconds=sum(stage.seconds for stage in stages if not stage.is_cached))
    return results


def _require_usable(config: RunConfig, shape: tuple[int, int, int]) -> None:
    """Refuses a network that does not take the images, cannot be quantised or pruned so, before anything is written."""
    model = make_model(config.model.name, **config.model.options)
    check_input(model, shape, name=config.model.name)
    example = torch.zeros(1, *shape)
    capture(model, example)
    if config.prune is not None:
        require_prunable(config.prune, model, example)
