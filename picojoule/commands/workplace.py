"""What the commands that need weights and images work with."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from approx import Assignment
from multipliers import Library
from picojoule.config import RunConfig
from picojoule.data import DataSplits, data_folders, load_data
from picojoule.files import Json, read_json
from picojoule.libraries import open_library
from picojoule.models import check_input, published_weights
from picojoule.pipeline.lab import Lab
from picojoule.pipeline.networks import save_network
from picojoule.pipeline.prepare import prepare
from picojoule.run_folder import RunFolder
from picojoule.sources import open_float
from picojoule.stages import StageContext, StageResult, file_digest


@dataclass(frozen=True)
class Workplace:
    """Configuration, images, circuits and the pruning plan of a command.

    Attributes:
        config: resolved from the options.
        splits: training, validation and test images.
        library: circuits to choose from.
        plan: of the pruned network that the weights belong to.
    """

    config: RunConfig
    splits: DataSplits
    library: Library
    plan: Path | None

    @classmethod
    def open(cls, config: RunConfig, plan: Path | None = None, assignment: Assignment | None = None) -> "Workplace":
        """Loads images and circuits, those that an assignment names among them.

        Raises:
            ValueError: data or circuits are missing, or the network does not take the images; nothing was written.
        """
        torch.set_num_threads(config.threads or torch.get_num_threads())
        library = open_library(config.select.library, config.data.root, assignment)
        place = cls(config, load_data(config.data), library, plan)
        check_input(place.network(), place.splits.train.shape, name=config.model.name)
        return place

    def network(self) -> nn.Module:
        """The floating-point network with its weights."""
        return open_float(self.config.model.name, self.config.model.weights, self.plan, self.config.data.root)

    def batches(self, count: int, seed: int = 0) -> list[Tensor]:
        """Training images in evaluation batches [n, C, H, W]; another seed draws others."""
        data = self.config.data
        return self.splits.calibration_batches(count, data.evaluation_batch_size, seed=data.split_seed + seed)

    @contextmanager
    def lab(self, folder: Path) -> Iterator[Lab]:
        """The surroundings of stages, with `folder` as their run folder."""
        with RunFolder(folder) as run:
            run.begin(self.config)
            yield Lab(self.config, run, self.splits, self.library)

    @contextmanager
    def scratch(self, out: Path) -> Iterator[Lab]:
        """The same in a hidden folder beside `out`, which goes when the block ends without an error.

        What an interrupted command left there is taken up by the next.
        """
        folder = out.with_name(f".{out.name}.work")
        with self.lab(folder) as lab:
            yield lab
        shutil.rmtree(folder)

    def prepared(self, lab: Lab) -> StageResult:
        """Stage "prepare": the floating-point network, pruned where there is a plan."""
        model, root = self.config.model, self.config.data.root
        if self.plan is None:
            return prepare(lab)
        step: dict[str, Json] = {"plan": read_json(self.plan)}
        weights = published_weights(model.name, data_folders(root)) if model.weights == "published" else model.weights

        def action(context: StageContext) -> Mapping[str, Json]:
            save_network(context, self.network(), ("prune", step))
            return {}

        configuration = {"model": model.model_dump(mode="json"), "weights": file_digest(str(weights)), **step}
        return lab.stage("prepare", action, configuration, {}, ())
