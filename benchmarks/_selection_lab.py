"""`Laboratory`: a network with its data, circuits, traces, sensitivity and candidates, and accuracies measured on it.

A seed decides which training images calibrate, trace, tune and make the gradients, how the validation images are
distorted, and all random numbers. The split into training and validation images is the same for all.
"""

import copy
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache, cached_property

import torch
from torch import nn

import approx
from approx import Divergence, LayerTrace, QuantisedNetwork, Reference
from benchmarks._selection_plan import Plan
from benchmarks._store import Store
from benchmarks._training import from_scratch
from multipliers import Library
from noise_models import (
    FisherDegradation,
    FrontPoint,
    Sensitivity,
    error_model,
    list_candidates,
    measure_sensitivity,
    without_drowned,
)
from noise_models.candidates import Candidate
from picojoule.config import DataConfig
from picojoule.data import DataSplits, Loader, load_data
from picojoule.data.distortion import distort_after, distorted
from picojoule.files import Json
from picojoule.libraries import open_library
from picojoule.sources import open_float

HELD_OUT = 5000
BATCH = 250
OTHER_IMAGES = 1000  # added to the seed where other training images are wanted
TUNE, CORRECT = "tune", "correct"


@cache
def data() -> DataSplits:
    """CIFAR-10, nothing distorted."""
    return load_data(DataConfig(name="cifar10", validation_images=HELD_OUT))


@cache
def circuits(names: tuple[str, ...]) -> Library:
    """The EvoApprox circuits whose names end so; all 49 where no names are given."""
    library = open_library("evoapprox")
    return Library([c for name, c in library.items() if not names or name.endswith(names)])


class Laboratory:
    """One network with one seed. Nothing is computed before it is asked for.

    Attributes:
        name: of the network, in the registry.
        seed: see above.
        plan: of the benchmark.
        store: of measurements.
        key: what all its measurements depend on.
    """

    def __init__(self, name: str, seed: int, plan: Plan, store: Store) -> None:
        self.name, self.seed, self.plan, self.store = name, seed, plan, store
        self.key: dict[str, Json] = {"network": name, "seed": seed, "set_up": asdict(plan.set_up)}
        if name in plan.from_scratch:
            self.key["from_scratch"] = asdict(plan.from_scratch[name])

    @cached_property
    def model(self) -> nn.Module:
        """Floating point, published weights, or trained here where there are none."""
        settings = self.plan.from_scratch.get(self.name)
        if settings is None:
            return open_float(self.name, "published", None)
        return from_scratch(self.name, settings, data(), self.store, self.say)

    @property
    def recovery(self) -> str:
        """Of this network's weights before any training: TUNE or CORRECT."""
        return TUNE if self.plan.retraining[self.name].tunes else CORRECT

    @property
    def library(self) -> Library:
        """Circuits to choose from."""
        return circuits(self.plan.set_up.circuits)

    @cached_property
    def batches(self) -> list[torch.Tensor]:
        """Calibration images [n, C, H, W]."""
        return data().calibration_batches(self.plan.set_up.calibration_images, BATCH, seed=self.seed)

    @cached_property
    def exact_network(self) -> QuantisedNetwork:
        """What losses are against: exact, 8 bit, at the ranges that are best for it."""
        return approx.quantise(self.model, self.batches)

    @cached_property
    def network(self) -> QuantisedNetwork:
        """To be given circuits: still exact, ranges as the plan says."""
        return approx.quantise(self.model, self.batches, resolution=self.plan.set_up.resolution)

    @cached_property
    def reference(self) -> Reference:
        """What the exact network does on the calibration images."""
        return Reference.of(self.exact_network, torch.cat(self.batches), self.plan.set_up.tuning_samples)

    @cached_property
    def traces(self) -> dict[str, LayerTrace]:
        """Of the calibration images."""
        return approx.trace(self.network, self.batches, self.plan.set_up.patches)

    @cached_property
    def sensitivity(self) -> Sensitivity:
        """From other training images."""
        images = data().calibration_batches(self.plan.set_up.sensitivity_images, BATCH, seed=self.seed + OTHER_IMAGES)
        return measure_sensitivity(self.network, images, seed=self.seed)

    @cached_property
    def tuned_candidates(self) -> dict[str, list[Candidate]]:
        """Judged for networks whose weights will be tuned."""
        return self._candidates(tuned=True)

    @cached_property
    def corrected_candidates(self) -> dict[str, list[Candidate]]:
        """Judged for networks that will be corrected."""
        return self._candidates(tuned=False)

    def _candidates(self, tuned: bool) -> dict[str, list[Candidate]]:
        judge = FisherDegradation(self.sensitivity)
        found = list_candidates(self.traces, self.library, error_model("patch-channel"), judge, tuned=tuned)
        return without_drowned(found, self.traces)

    @cached_property
    def validation(self) -> Loader:
        """Images that choices are made on; distorted where published weights were trained on them."""
        some = data().validation.take(slice(self.plan.set_up.validation_images))
        is_seen = self.name not in self.plan.from_scratch
        return Loader(distorted(some, self.plan.set_up.magnitude, self.seed) if is_seen else some, BATCH)

    @property
    def test(self) -> Loader:
        """Images that nothing is chosen on."""
        return Loader(data().test.take(slice(self.plan.set_up.test_images)), BATCH)

    @cached_property
    def divergence(self) -> Divergence:
        """Of a network from the float one, on validation images."""
        return Divergence(self.model, self.validation)

    def training(self, count: int | None, batch_size: int, magnitude: int = 0) -> Loader:
        """Shuffled, augmented batches of the first images that are not held out, or of all of them."""
        plain = data()
        augment = distort_after(plain.augment, magnitude, plain.train.normalisation.full_scale)
        some = replace(plain, train=plain.train.take(slice(count)), augment=augment)
        return some.train_loader(batch_size, seed=self.seed)

    def prepared(self, point: FrontPoint, recovery: str) -> QuantisedNetwork:
        """The network with a point's circuits, tuned or corrected."""
        start = copy.deepcopy(self.network).assign(point.assignment, self.library)
        key = {**self.key, "assignment": point.assignment.to_json(), "recovery": recovery}

        def prepare(network: QuantisedNetwork) -> None:
            images = torch.cat(self.batches)
            if recovery == TUNE:
                approx.tune(network, images, self.reference)
            else:
                approx.correct(network, images, self.reference.moments)

        return self.store.network(key, start, prepare)

    def loss(self, point: FrontPoint, recovery: str, test: bool = False) -> float:
        """Accuracy lost against the exact network, pp, on validation or on test images."""
        where = "test" if test else "validation"
        key = {**self.key, "assignment": point.assignment.to_json(), "recovery": recovery, "images": where}

        def measure() -> float:
            network = self.prepared(point, recovery)
            reached = approx.accuracy(network, self.images(test))
            saved = f"{100 * (1 - point.energy):.1f} % saved"
            self.say(f"{saved}, {recovery}: {100 * (self.exact(test) - reached):+.2f} pp lost, {where}")
            return reached

        return 100 * (self.exact(test) - float(self.store.value("accuracy", key, measure)))

    def exact(self, test: bool = False) -> float:
        """Accuracy of the exact 8-bit network, 0..1."""
        return self._accuracy("exact", lambda: self.exact_network, test)

    def floating(self, test: bool = False) -> float:
        """Accuracy of the floating-point network, 0..1."""
        return self._accuracy("float", lambda: self.model, test)

    def _accuracy(self, which: str, network: Callable[[], nn.Module], test: bool) -> float:
        key = {**self.key, "baseline": which, "images": "test" if test else "validation"}
        return float(self.store.value("accuracy", key, lambda: approx.accuracy(network(), self.images(test))))

    def images(self, test: bool) -> Loader:
        """Test or validation images."""
        return self.test if test else self.validation

    def say(self, text: str) -> None:
        """Progress."""
        print(f"{time.strftime('%H:%M:%S')} {self.name}, seed {self.seed}: {text}", file=sys.stderr, flush=True)
