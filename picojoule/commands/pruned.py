"""What `prune` does: the stages prepare and prune of a run, and measure where the test set is to be read."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import pruning
from approx import accuracy
from picojoule.commands.workplace import Workplace
from picojoule.config import DataConfig, RunConfig, to_toml
from picojoule.data import Loader, load_data
from picojoule.errors import UserError
from picojoule.files import Json, write_json
from picojoule.models import check_input
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import WEIGHTS, load_network
from picojoule.pipeline.prepare import prepare
from picojoule.pipeline.prune import PLAN, prune, require_prunable
from picojoule.pruning_tables import print_pruned
from picojoule.report.kept_picture import draw_kept
from picojoule.sources import input_shape_of, open_float
from picojoule.stages import StageContext, StageResult
from picojoule.tables import console

NAME = "prune"
PICTURE = "kept.svg"


def check_prune_folder(folder: Path, config: RunConfig) -> None:
    """Refuses the folder of another run, or of a pruning with other options, whose results would be replaced.

    Raises:
        UserError: it is one.
    """
    file = folder / "config.toml"
    if not file.is_file():
        return
    then, now = (tomllib.loads(text) for text in (file.read_text(encoding="utf-8"), to_toml(config)))
    if then.get("name") != NAME:
        raise UserError(f"{folder} holds another run; choose another folder")
    old, new = _keys(then), _keys(now)
    if changed := sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)):
        key = changed[0]
        raise UserError(
            f"{folder} holds a pruning with other options ({key} was {old.get(key)!r}, is {new.get(key)!r}); choose "
            f"another folder, or delete this one"
        )


def _keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of nested sections: "section.key" -> value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= {f"{key}.{k}": v for k, v in _keys(value).items()} if isinstance(value, Mapping) else {key: value}
    return found


def explained(
    model: str, input_shape: str | None, data: str | None, data_root: Path | None, keep: Sequence[str]
) -> pruning.Explanation:
    """What of a network by name can be pruned; its weights do not matter.

    Args:
        model: name.
        input_shape: "C,H,W" of an image; else that of the data set, where one is named, else that the model is for.
        data, data_root: name and place of a data set.
        keep: layers left alone.
    """
    shape: tuple[int, ...]
    if input_shape is None and data is not None:
        shape = load_data(DataConfig(name=data, root=None if data_root is None else str(data_root))).train.shape
    else:
        shape = input_shape_of(model, input_shape)
    network, example = open_float(model, None, None), torch.zeros(1, *shape)
    check_input(network, shape, name=model)
    grouping = pruning.find_safe_groups(pruning.trace(network, (example,)), ignore=keep)
    return pruning.explain(grouping, pruning.macs_cost(grouping, pruning.count_macs(network, example)))


def prune_network(place: Workplace, out: Path, test: bool) -> dict[str, Json]:
    """Runs the stages.

    Args:
        place: network, images and [prune].
        out: run folder.
        test: also measure the network before and after on the test images.

    Returns:
        Sizes, accuracies (shares of the images they name), what was kept, and files.
    """
    assert place.config.prune is not None
    require_prunable(place.config.prune, place.network(), torch.zeros(1, *place.splits.train.shape))
    with place.lab(out) as lab:
        prepared = prepare(lab)
        pruned = prune(lab, prepared)
        values: dict[str, Json] = {
            **pruned.values,
            "validation_images": len(place.splits.validation),
            "weights": str(pruned.path(WEIGHTS)),
            "plan": str(pruned.path(PLAN)),
            "picture": str(out / PICTURE),
        }
        if test:
            values |= _test(lab, prepared, pruned).values
        write_json(out / "results.json", values)
    return values


def print_and_draw(values: Mapping[str, Any], config: RunConfig, out: Path) -> None:
    """The result table, and the picture of kept channels."""
    print_pruned(values, console())
    share = values["macs_after"] / values["macs_before"]
    title = f"{config.model.name}: {100 * share:.1f} % of the MACs kept, by {values['criterion']}"
    draw_kept(values["kept"], title, out / PICTURE)


def _test(lab: Lab, prepared: StageResult, pruned: StageResult) -> StageResult:
    """Stage "measure": the test set, looked at once for each network."""

    def action(context: StageContext) -> Mapping[str, Json]:
        images = Loader(lab.splits.test, lab.config.data.evaluation_batch_size)
        before, after = (accuracy(load_network(lab, stage), images) for stage in (prepared, pruned))
        return {"test_images": len(lab.splits.test), "test_accuracy_before": before, "test_accuracy_after": after}

    return lab.stage("measure", action, {}, {"prepare": prepared, "prune": pruned}, (__name__,))
