"""How much `benchmarks.pruning` does: budgets, images, trainings; the full plan and a quick one for a look."""

from dataclasses import dataclass, replace

from approx import Recipe


@dataclass(frozen=True)
class Plan:
    """A whole benchmark.

    Attributes:
        recipes: fine-tuning of every pruned network, by network.
        finalists: of our criteria, by network: those that go through all seeds, the best on validation images with the
            first seed; None: all.
        ways_of: network on whose first seed the way of each criterion that sees data is chosen, where it is not the
            same; the others are quick.
        oracle_images: training images that tell the true change of the loss for each channel of `oracle_network`.
        budgets: shares of the multiply-accumulates kept.
        score_images: training images that criteria see.
        statistics_images: training images, drawn anew, that batch norms are re-estimated on.
        training_images: of the training set; None: all that are not held out.
        validation_images: held out of training and distorted, as the published weights were trained on them; the
            best method is chosen on them.
        magnitude: of the distortion, RandAugment.
        test_images: the first ones of the test set.
        batch_size: of all passes with gradients.
        methods: the first ones only; None: all.
    """

    recipes: dict[str, Recipe]
    finalists: dict[str, int | None]
    ways_of: dict[str, str]
    budgets: tuple[float, ...] = (0.5, 0.3)
    oracle_network: str = "resnet20"
    oracle_images: int = 1024
    score_images: int = 1024
    statistics_images: int = 4096
    training_images: int | None = None
    validation_images: int = 5000
    magnitude: int = 7
    test_images: int = 10_000
    batch_size: int = 128
    methods: int | None = None


_TUNING = Recipe(learning_rate=0.02, weight_decay=5e-4, clip=None, distillation=0, warmup_steps=20)
FULL = Plan(
    dict.fromkeys(("resnet20", "resnet56"), _TUNING), {"resnet20": None, "resnet56": 3}, {"resnet56": "resnet20"}
)
QUICK = Plan(
    dict.fromkeys(FULL.recipes, replace(_TUNING, warmup_steps=0)),
    dict.fromkeys(FULL.recipes),
    {},
    budgets=(0.5,),
    oracle_images=16,
    score_images=64,
    statistics_images=128,
    training_images=128,
    validation_images=128,
    test_images=128,
    batch_size=32,
    methods=3,
)
