"""ResNet-56 on CIFAR-10 at 2.1 times fewer multiply-accumulates, trained as long as there is time: beside publications.

    python -m benchmarks.pruning_published [--epochs 25] [--work FOLDER] --json FILE

Needs CIFAR-10 and the published weights below $PICOJOULE_DATA. An epoch takes minutes on two cores; an interrupted
training goes on from its last minute in the work folder. --quick takes few images; its figures mean nothing.

Protocol. Magnitude, one ranking of all channels, in eight steps: what did best at half of the multiply-accumulates on
validation images in `benchmarks.pruning`. Then SGD with a cosine on all training images but ten, with the unpruned
network as the teacher, products in bfloat16. Nothing is chosen afterwards: the weights after the last epoch are tested,
once.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

import pruning
from approx import Recipe, Trainer, accuracy
from benchmarks._pruning_lab import EVALUATION_BATCH, STATISTICS_SEED, drawn, original, reestimated
from benchmarks._pruning_methods import STEPS
from benchmarks._pruning_plan import FULL
from benchmarks._report import Row, at_least, publish
from benchmarks._store import Store
from benchmarks._training import BATCH, finish, lay_out
from picojoule.config import DataConfig
from picojoule.data import DataSplits, Loader, load_data
from picojoule.files import Json

NETWORK, MACS = "resnet56", 1 / 2.11
RECIPE = Recipe(epochs=25, learning_rate=0.02, weight_decay=5e-4, clip=None, distillation=0.5, warmup_steps=100)
DATA = DataConfig(name="cifar10", validation_images=10)  # one a class, the fewest: nothing is chosen on them
QUICK_IMAGES = 256
GOAL = 93.5  # %, test top-1
PUBLISHED = "torch-pruning, from 93.53 %: 93.46 at 2.11x, 93.77 at 2.13x with sparse training before the cut"
CHANGES = "torch-pruning -0.07 at 2.11x, +0.24 at 2.13x; NISP -0.03 at 1.8x"


def rows(splits: DataSplits, recipe: Recipe, store: Store) -> Iterator[Row]:
    """What is left of the accuracy, after the cut and after training."""
    example = torch.zeros(1, *splits.train.shape)
    dense, small = original(NETWORK), cut(example)
    kept = pruning.count_macs(small, example) / pruning.count_macs(dense, example)
    where = f"{NETWORK}, {1 / kept:.2f}x fewer MACs"
    before = 100 * _tested(dense, splits)
    yield Row(f"{NETWORK}, unpruned: test top-1", before, "%")
    yield Row(f"{where}, one-shot: test top-1", 100 * _tested(small, splits), "%")
    some = min(FULL.statistics_images, len(splits.train))
    normed = reestimated(small, drawn(splits, some, STATISTICS_SEED, BATCH))
    yield Row(f"{where}, batch norms re-estimated: test top-1", 100 * _tested(normed, splits), "%")
    key: Json = {"network": NETWORK, "macs": MACS, "recipe": asdict(recipe), "images": len(splits.train)}
    after = 100 * _tested(store.network(key, small, lambda n: train(n, splits, recipe, store.path("run", key))), splits)
    trained = f"{where}, {recipe.epochs} epoch{'s' * (recipe.epochs > 1)}"
    yield at_least(f"{trained}: test top-1", after, "%", GOAL, PUBLISHED)
    yield Row(f"{trained}: change of the test top-1", after - before, "pp", peer=CHANGES)


def cut(example: torch.Tensor) -> nn.Module:
    """The smaller network, not trained; for images like that one [1, C, H, W]."""
    schedule = pruning.Iterative(STEPS, epochs=0, final_epochs=0)
    found = pruning.prune(original(NETWORK), example, macs=MACS, criterion="magnitude", schedule=schedule)
    return found.model.eval()


def train(network: nn.Module, splits: DataSplits, recipe: Recipe, folder: Path) -> None:
    """In place; from the checkpoint in the folder on."""
    teacher = copy.deepcopy(original(NETWORK))
    for each in (network, teacher):
        lay_out(each, torch.channels_last)
    trainer = Trainer(network, recipe, teacher)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        finish(trainer, splits.train_loader(BATCH), folder, _say)
    lay_out(network, torch.contiguous_format)


def _tested(network: nn.Module, splits: DataSplits) -> float:
    return accuracy(network, Loader(splits.test, EVALUATION_BATCH))


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one epoch of few images")
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs, help=f"of training (default: {RECIPE.epochs})")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="where an interrupted training goes on from")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    splits, recipe = load_data(DATA), replace(RECIPE, epochs=1 if arguments.quick else arguments.epochs)
    if arguments.quick:
        few = slice(QUICK_IMAGES)
        splits = replace(splits, train=splits.train.take(few), test=splits.test.take(few))
    with tempfile.TemporaryDirectory() as temporary:
        store = Store(arguments.work or Path(temporary))
        publish("benchmarks.pruning_published", list(rows(splits, recipe, store)), arguments.json)


if __name__ == "__main__":
    main()
