"""Measurements of `benchmarks.pruning`: a network cut by a method, and its accuracy before and after fine-tuning."""

import copy
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property

import torch
from torch import nn

import pruning
from approx import Trainer, accuracy
from benchmarks._pruning_methods import Batches, Job, Method
from benchmarks._pruning_oracle import agreement, scores, true_importance
from benchmarks._pruning_plan import Plan
from benchmarks._store import Store
from benchmarks._training import finish, lay_out
from picojoule.config import DataConfig
from picojoule.data import DataSplits, Images, Loader, load_data
from picojoule.data.distortion import distorted
from picojoule.files import Json
from picojoule.sources import open_float

HELD_OUT = 5000
EVALUATION_BATCH = 500
STATISTICS_SEED = 1000  # added to the seed, to draw anew
ORACLE_SEED = 2000


@dataclass(frozen=True)
class Case:
    """A network, a budget, a seed."""

    network: str
    macs: float
    seed: int


@cache
def data() -> DataSplits:
    """CIFAR-10, nothing distorted."""
    return load_data(DataConfig(name="cifar10", validation_images=HELD_OUT))


@cache
def original(network: str) -> nn.Module:
    """Published weights."""
    return open_float(network, "published", None)


def drawn(splits: DataSplits, count: int, seed: int, size: int) -> Batches:
    """Some training images, in batches."""
    images, labels = splits.calibration(count, seed=seed)[:]
    return list(zip(images.split(size), labels.split(size), strict=True))


def reestimated(network: nn.Module, batches: Batches) -> nn.Module:
    """A copy whose batch norms have the statistics of these images."""
    twin = copy.deepcopy(network)
    pruning.reestimate_batch_norm(twin, batches)
    return twin


class Bench:
    """Cuts, tunes and measures; everything once, by way of the store."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan, self.store = plan, store
        elsewhere = ("recipes", "finalists", "ways_of", "budgets", "methods", "oracle_network", "oracle_images")
        self.key: dict[str, Json] = {name: value for name, value in asdict(plan).items() if name not in elsewhere}

    @property
    def example(self) -> torch.Tensor:
        """A blank image."""
        return torch.zeros(1, *data().train.shape)

    @cached_property
    def test(self) -> Loader:
        """Images that nothing is chosen on."""
        return Loader(data().test.take(slice(self.plan.test_images)), EVALUATION_BATCH)

    @cached_property
    def validation(self) -> Loader:
        """Images that the best method is chosen on."""
        some = data().validation.take(slice(self.plan.validation_images))
        return Loader(distorted(some, self.plan.magnitude), EVALUATION_BATCH)

    def unpruned(self, network: str) -> float:
        """Test accuracy, 0..1."""
        key = {**self.key, "network": network}
        return float(self.store.value("unpruned", key, lambda: accuracy(original(network), self.test)))

    def fidelity(self, network: str) -> Mapping[str, Mapping[str, float]]:
        """Of every criterion, how its scores agree with the true changes of the loss."""
        key = {**self.key, "network": network, "oracle_images": self.plan.oracle_images}

        def measure() -> Json:
            grouping = pruning.find_safe_groups(pruning.trace(original(network), self.example))
            truth = true_importance(grouping, self._batches(self.plan.oracle_images, ORACLE_SEED))
            seen, names = self._batches(self.plan.score_images, 0), pruning.criteria()[: self.plan.methods]
            return {name: agreement(grouping, scores(grouping, seen, name), truth) for name in names}

        return self.store.value("fidelity", key, measure)

    def cut(self, case: Case, method: Method) -> Mapping[str, Json]:
        """Share of the MACs kept, seconds, validation accuracy with re-estimated batch norms."""
        key = {**self.key, **asdict(case), "method": method.name}

        def measure() -> Json:
            start = time.perf_counter()
            network = self._cut(case, method)
            seconds = time.perf_counter() - start
            before, after = (pruning.count_macs(model, self.example) for model in (original(case.network), network))
            reached = accuracy(self._reestimated(network, case), self.validation)
            self._say(case, method, f"validation after re-estimation {100 * reached:.2f} %, {seconds:.0f} s")
            return {"macs": after / before, "seconds": seconds, "validation": reached}

        return self.store.value("cut", key, measure)

    def tuned(self, case: Case, method: Method) -> Mapping[str, Json]:
        """Test accuracy one-shot, re-estimated and fine-tuned; validation accuracy fine-tuned."""
        recipe = self.plan.recipes[case.network]
        key = {**self.key, **asdict(case), "method": method.name, "recipe": asdict(recipe)}

        def measure() -> Json:
            network = self._cut(case, method)
            shot = accuracy(network, self.test)
            normed = accuracy(self._reestimated(network, case), self.test)
            trainer = Trainer(network, replace(recipe, seed=case.seed))
            say = lambda text: self._say(case, method, text)  # noqa: E731
            with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
                finish(trainer, self._training(case.seed), self.store.path("training", key), say)
            validation, test = accuracy(network, self.validation), accuracy(network, self.test)
            say(f"test one-shot {100 * shot:.2f}, re-estimated {100 * normed:.2f}, tuned {100 * test:.2f} %")
            return {"one_shot": shot, "reestimated": normed, "tuned": test, "validation": validation}

        return self.store.value("tuned", key, measure)

    def _cut(self, case: Case, method: Method) -> nn.Module:
        torch.manual_seed(case.seed)
        batches = self._batches(self.plan.score_images, case.seed)
        network = method.cut(Job(original(case.network), self.example, case.macs, batches, case.seed)).eval()
        lay_out(network, torch.channels_last)
        return network

    def _reestimated(self, network: nn.Module, case: Case) -> nn.Module:
        return reestimated(network, self._batches(self.plan.statistics_images, case.seed + STATISTICS_SEED))

    def _batches(self, count: int, seed: int) -> Batches:
        return drawn(data(), count, seed, self.plan.batch_size)

    def _training(self, seed: int) -> Loader:
        splits = data()
        some: Images = splits.train.take(slice(self.plan.training_images))
        return replace(splits, train=some).train_loader(self.plan.batch_size, seed=seed)

    def _say(self, case: Case, method: Method, text: str) -> None:
        where = f"{case.network}, {case.macs:.0%}, seed {case.seed}, {method.name}"
        print(f"{time.strftime('%H:%M:%S')} {where}: {text}", file=sys.stderr, flush=True)
