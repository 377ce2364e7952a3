"""Stage "prune": fewer channels, as a schedule says, and training with the unpruned network as the teacher."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn

import pruning
from approx import Recipe, Trainer, accuracy
from picojoule.config import PruneConfig
from picojoule.data import Loader
from picojoule.files import Json
from picojoule.pipeline.lab import Lab, Part
from picojoule.pipeline.networks import WEIGHTS, load_network, save_network
from picojoule.stages import StageContext, StageResult
from picojoule.training_state import TrainingState
from pruning import Phase
from pruning.criteria.base import Batches
from pruning.shrinking import Shrinking

PLAN = "plan.json"


def prune(lab: Lab, prepared: StageResult) -> StageResult:
    """Runs the stage; without a [prune] section the prepared network goes on unchanged."""
    config = lab.config.prune
    if config is None:
        return prepared

    def action(context: StageContext) -> Mapping[str, Json]:
        torch.manual_seed(lab.config.seed)
        work = _Work(lab, context, config, load_network(lab, prepared))
        result = work.run()
        result.plan.save(context.outputs / PLAN)
        step = {"plan": json.loads(result.plan.to_json()), **config.model_dump(mode="json")}
        save_network(context, result.model, ("prune", step), prepared.path(WEIGHTS))
        return {
            **_summary(result),
            "criterion": config.criterion,
            "schedule": config.schedule,
            "statistics_images": config.statistics_images,
            "losses": work.losses,
            "steps": work.steps,
        }

    return lab.stage("prune", action, {"prune": config.model_dump(mode="json")}, {"prepare": prepared}, ())


def require_prunable(config: PruneConfig, network: nn.Module, example: Tensor) -> None:
    """Refuses unknown names, a network that cannot be pruned and a budget that cannot be met, before any work.

    Args:
        config: [prune].
        network: trained or not.
        example: an image [1, C, H, W].

    Raises:
        ValueError: says what is wrong.
    """
    schedule_of(config)
    Shrinking(network, example, request_of(config, []))


def request_of(config: PruneConfig, batches: Batches) -> pruning.Request:
    """What a [prune] section asks for; `batches` are for criteria that need data."""
    needs_data = pruning.criterion(config.criterion).needs_data
    return pruning.Request(
        macs=config.macs or 1.0,
        budget=None if config.parameters is None else pruning.parameter_budget(config.parameters),
        criterion=config.criterion,
        loader=batches if needs_data else None,
        selector=config.selector,
        round_to=config.round_to,
        min_keep=config.min_keep,
        ignore=config.keep,
    )


def schedule_of(config: PruneConfig) -> pruning.Schedule:
    """The schedule of a [prune] section."""
    own = {"one-shot": {}, "iterative": {"steps": config.steps}}.get(config.schedule, {})
    between = {} if config.schedule == "one-shot" else {"epochs": config.step_epochs}
    return pruning.schedule(config.schedule, **own, **between, final_epochs=config.fine_tune_epochs)


@dataclass
class _Work:
    """A pruning that goes on where it was killed.

    Attributes:
        original: teaches.
        losses: of all epochs.
        steps: accuracy on validation images before, after every cut and after every training.
    """

    lab: Lab
    context: StageContext
    config: PruneConfig
    original: nn.Module
    losses: list[Json] = field(default_factory=list)
    steps: list[Json] = field(default_factory=list)

    def run(self) -> pruning.PruneResult:
        pruner = self._pruner()
        state = TrainingState(self.context.checkpoints, {"pruner": pruner})
        state.load()
        self.losses, self.steps = state.extra.get("losses", []), state.extra.get("steps", [])
        if not self.steps:
            self._measure("before", self.original, 1.0)
        for _ in pruner.run():
            network, what = pruner.network.model, "cut" if pruner.is_cut else "trained"
            self._measure(what, network, pruning.count_macs(network, self.lab.example) / pruner.network.macs)
            state.save(pruner.done, losses=self.losses, steps=self.steps)
        result = pruner.result()
        self._reestimate(result)
        return result

    def _pruner(self) -> pruning.Pruner:
        lab, config = self.lab, self.config
        images = lab.splits.calibration(min(config.images, len(lab.splits.train)), seed=lab.config.data.split_seed)
        request = request_of(config, list(Loader(images, lab.config.data.batch_size)))
        cuts = {"one-shot": 1, "iterative": config.steps}.get(config.schedule, 2)
        trains = config.fine_tune_epochs or (cuts > 1 and config.step_epochs)
        tune = self._tune if trains else None
        return pruning.Pruner(self.original, lab.example, request, schedule_of(config), tune)

    def _tune(self, network: nn.Module, phase: Phase) -> None:
        config = self.config
        recipe = Recipe(
            phase.epochs,
            config.learning_rate,
            config.momentum,
            config.weight_decay,
            distillation=config.distillation,
        )
        trainer = Trainer(network, recipe, self.original)
        part = Part(f"phase{phase.number}", phase.first_epoch, phase.after_epoch)
        self.losses += self.lab.finish(self.context, trainer, self.lab.training(), part).losses

    def _reestimate(self, result: pruning.PruneResult) -> None:
        lab, count = self.lab, min(self.config.statistics_images, len(self.lab.splits.train))
        if count and pruning.reestimate_batch_norm(
            result.model, Loader(lab.splits.calibration(count, seed=lab.config.seed), lab.config.data.batch_size)
        ):
            self._measure("batch norms re-estimated", result.model, result.macs_after / result.macs_before)

    def _measure(self, what: str, network: nn.Module, macs: float) -> None:
        validation = Loader(self.lab.splits.validation, self.lab.config.data.evaluation_batch_size)
        reached = accuracy(network.eval(), validation)
        self.steps.append({"what": what, "macs": macs, "accuracy_validation": reached})
        self.context.log("step", what=what, macs=macs, accuracy_validation=reached)


def _summary(result: pruning.PruneResult) -> dict[str, Json]:
    return {
        "macs_before": result.macs_before,
        "macs_after": result.macs_after,
        "params_before": result.params_before,
        "params_after": result.params_after,
        "max_difference": result.max_difference,
        "kept": {name: list(counts) for name, counts in result.kept.items()},
        "frozen": [asdict(frozen) for frozen in result.frozen],
    }
