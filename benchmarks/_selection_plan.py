"""How much `benchmarks.selection` does: sizes, levels, schedules; the full plan and a quick one for a look."""

from dataclasses import dataclass, replace

from approx import Gradient, Recipe
from approx.trace import PATCHES
from approx.weight_tuning import SAMPLES
from noise_models import AgnSettings


@dataclass(frozen=True)
class SetUp:
    """What every measurement depends on, beside network and seed.

    Attributes:
        calibration_images: training images that observers, traces and tuning see.
        sensitivity_images: other training images, of the gradient pass.
        resolution: bits that ranges of activations are made for, in every network with circuits; the exact 8-bit
            network that losses are against keeps the ranges best for 8.
        patches, tuning_samples: of every layer, for the error model and for `approx.tune`.
        validation_images: held out of training; every choice is made on them.
        magnitude: of the distortion, RandAugment, where published weights were trained on them all the same.
        test_images: the first ones of the test set.
        circuits: of the library, by their names' ends; all where there is none.
    """

    calibration_images: int = 1536
    sensitivity_images: int = 1024
    resolution: int = 5
    patches: int = PATCHES
    tuning_samples: int = SAMPLES
    validation_images: int = 5000
    magnitude: int = 7
    test_images: int = 10_000
    circuits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Retraining:
    """How, and of what.

    Attributes:
        recipe: of the training; its seed is replaced by the measurement's.
        score: "divergence" from the float network or "accuracy", on validation images; chooses the weights kept.
        levels: shares of multiplication energy saved, of the points of our front.
        channel_levels: likewise, of our front with two circuits in a layer.
        uniform_level: beside the circuit that is best before retraining, the one nearest this saving.
        gradient: of the products.
        images: of the training set; None: all that are not held out.
        batch_size: images.
        magnitude: of the distortion, RandAugment.
        tunes: whether weights are tuned first; else gain and bias are corrected only. Tuning takes as long as a network
            has weights: half an hour for each point of VGG16-BN.
    """

    recipe: Recipe
    score: str = "divergence"
    levels: tuple[float, ...] = (0.76, 0.82, 0.88, 0.905, 0.92, 0.935)
    channel_levels: tuple[float, ...] = ()
    uniform_level: float = 0.90
    gradient: Gradient = "line"
    images: int | None = None
    batch_size: int = 128
    magnitude: int = 7
    tunes: bool = True

    @property
    def words(self) -> str:
        """Its length."""
        epochs = f"{self.recipe.epochs} epoch{'s' * (self.recipe.epochs > 1)}"
        return epochs if self.images is None else f"{epochs} of {self.images} images"


@dataclass(frozen=True)
class FromScratch:
    """How a float network without published weights is trained.

    Attributes:
        recipe: of the training.
        images: of the training set, plain; None: all that are not held out, augmented.
    """

    recipe: Recipe
    images: int | None = None


SHORT_SEARCH = AgnSettings(sigma_init=0.05, epochs=3, learning_rate=1e-2, decay_every=0)


@dataclass(frozen=True)
class Plan:
    """A whole benchmark.

    Attributes:
        set_up: of every measurement.
        retraining: by network.
        from_scratch: by network, where there are no published weights.
        largest_loss: of validation accuracy that a choice may cost, pp against the exact 8-bit network, by divergence;
            below the 1 pp that the test images are to show by two standard errors, about 0.15 pp as it rests on two
            dozen networks.
        resolution: share of multiplication energy by which points of a front differ at least; 0: all are there.
        levels: shares saved at which our front is measured.
        read_off: distance in saving of the points beside the chosen one, whose test losses are read off.
        evaluations: budgets of NSGA-II.
        agn: search whose tolerance the published matching uses.
        agn_images: of the training set it sees; None: all.
        circuits_at_most: for the price of mixing.
        timed_images: that accuracy is measured on in one evaluation of an evolutionary search.
        timed_evaluations, timed_steps: measured, the rest is extrapolated.
    """

    retraining: dict[str, Retraining]
    from_scratch: dict[str, FromScratch]
    set_up: SetUp = SetUp()
    largest_loss: float = 0.7
    resolution: float = 0.005
    levels: tuple[float, ...] = (0.70, 0.76, 0.80, 0.83, 0.86, 0.88, 0.90, 0.92)
    read_off: float = 0.03
    evaluations: tuple[int, ...] = (10_000,)
    agn: AgnSettings = SHORT_SEARCH
    agn_images: int | None = None
    circuits_at_most: tuple[int, ...] = (1, 2, 4, 8)
    timed_images: int = 1000
    timed_evaluations: int = 5
    timed_steps: int = 20


DISTILLED = Recipe(learning_rate=3e-4, distillation=1.0, warmup_steps=50, optimiser="channel-adam")
SGD = Recipe(epochs=10, learning_rate=0.05, weight_decay=5e-4, clip=None, distillation=0, warmup_steps=100)
FULL = Plan(
    {
        "resnet20": Retraining(replace(DISTILLED, epochs=2), channel_levels=(0.90, 0.92, 0.93, 0.94)),
        "resnet56": Retraining(replace(DISTILLED, epochs=1), levels=(0.92, 0.945)),
        "vgg16_bn_cifar": Retraining(
            replace(DISTILLED, epochs=1), levels=(0.88, 0.92, 0.94, 0.95), images=11_264, tunes=False
        ),
    },
    {"vgg16_bn_cifar": FromScratch(SGD)},
)
_FEW = Retraining(Recipe(learning_rate=1e-3, distillation=1.0), levels=(0.90,), images=32, batch_size=16)
QUICK = Plan(
    dict.fromkeys(FULL.retraining, _FEW),
    {name: FromScratch(replace(SGD, epochs=1, warmup_steps=1), 256) for name in FULL.from_scratch},
    SetUp(32, 32, 5, 64, 64, 64, 7, 64, ("1JFF", "17KS", "18DU")),
    resolution=0.3,
    levels=(0.90,),
    read_off=1.0,
    evaluations=(200,),
    agn=replace(SHORT_SEARCH, epochs=1),
    agn_images=32,
    circuits_at_most=(2,),
    timed_images=64,
    timed_evaluations=2,
    timed_steps=1,
)
