"""The sections of a run configuration, with their defaults, ranges and meaning.

Paths are relative to the folder picojoule is started in. An absent optional section ([train], [prune],
[retrain]) means that the stage does not take place.
"""

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Option = bool | int | float | str
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
OperandMode = Literal["sign-magnitude", "sign-magnitude-9", "affine", "signed"]
AgnPreset = Literal[
    "short", "lenet5", "resnet8", "resnet14", "resnet20", "resnet32", "vgg11", "vgg13", "vgg16", "vgg19", "alexnet",
    "mobilenet_v2", "qos-resnet8", "qos-resnet14", "qos-resnet20", "qos-resnet32", "qos-cifar100",
]  # fmt: skip


def _known_gradient(value: object) -> object:
    if value in ("line", "straight") or (type(value) is int and 0 <= value <= 125):
        return value
    raise ValueError(f'expected "line", "straight" or a half window, 0..125, got {value!r}')


class Section(BaseModel):
    """Base of all sections: unknown keys refused, values immutable, no infinities.

    Attributes:
        exclusive: groups of keys of which at most one may be given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = ()

    @classmethod
    def exclusion_problems(cls, given: Collection[str]) -> list[str]:
        """What is wrong with giving these keys together."""
        clashes = ([key for key in group if key in given] for group in cls.exclusive)
        return [f"expected only one of {', '.join(keys)}" for keys in clashes if len(keys) > 1]

    @model_validator(mode="after")
    def _exclusive_keys(self) -> Self:
        for problem in self.exclusion_problems([k for k, v in self if v is not None]):
            raise ValueError(problem)
        return self


class ModelConfig(Section):
    """[model]: the network and where its weights come from.

    Attributes:
        name: a registered name ("resnet20"), a torchvision classifier ("mobilenet_v2") or "package.module:factory".
        weights: a .safetensors, .th or .pt file; "published" for the published file of a registered model, found
            or fetched by name and checked; absent: random initialisation (then [train] is needed).
        options: keyword arguments of the factory.
    """

    name: str
    weights: str | None = None
    options: dict[str, Option] = {}


class DataConfig(Section):
    """[data]: the images.

    Attributes:
        name: "digits", "cifar10", "mnist" or "package.module:factory".
        root: folder of downloaded data; absent: $PICOJOULE_DATA, otherwise "data".
        download: may the data be fetched when missing?
        batch_size: images per training batch.
        evaluation_batch_size: images per batch when only evaluating.
        validation_images: images held out of the training set; absent: the data set's own default.
        test_images: only the first ones, for a quick look; absent: all.
        split_seed: fixes which; the same split is used by every stage.
        validation_magnitude: strength, 0..30, of a fixed random distortion (RandAugment, two operations) of the
            validation images; 0: none. For weights that were trained on the validation images, which say little then:
            choose it so that the network is as accurate on them as it is known to be on unseen images.
        calibration_images: training images that observers, patch histograms and sensitivities see.
        augment: random flip and shifted crop of training images, where the data set has them.
        options: keyword arguments of a "package.module:factory".
    """

    name: str
    root: str | None = None
    download: bool = False
    batch_size: Count = 128
    evaluation_batch_size: Count = 250
    validation_images: Count | None = None
    test_images: Count | None = None
    split_seed: CountOrZero = 0
    validation_magnitude: Annotated[int, Field(ge=0, le=30)] = 0
    calibration_images: Count = 512
    augment: bool = True
    options: dict[str, Option] = {}


class TrainConfig(Section):
    """[train]: training from scratch.

    Attributes:
        epochs, learning_rate, momentum, weight_decay: of SGD with a cosine learning rate.
        warmup_steps: first steps, over which the learning rate also rises linearly.
        gradient_clip: largest norm of the gradient; absent: any.
    """

    epochs: Count = 20
    learning_rate: Positive = 0.1
    momentum: Momentum = 0.9
    weight_decay: NonNegative = 5e-4
    warmup_steps: CountOrZero = 0
    gradient_clip: Positive | None = None


class PruneConfig(Section):
    """[prune]: structured pruning.

    Attributes:
        macs: share of multiply-accumulates to keep, in (0, 1].
        parameters: share of the parameters to keep instead.
        criterion: name of the importance score.
        images: training images the criterion may see.
        selector: "global" compares channels of all layers, "priced" what they are worth for their cost, "local" takes
            the same share of each, ...
        round_to: kept channels are a multiple of it.
        min_keep: fewest channels kept per group.
        keep: layer-name patterns that are left alone.
        schedule: "one-shot" cuts once, "iterative" in `steps`, "entwined" layer by layer, "soft-to-hard" zeroes
            channels for a while before it cuts them.
        steps: cuts of "iterative".
        step_epochs: of training after each cut but the last; of "soft-to-hard", before the cut.
        fine_tune_epochs: of training after the last cut.
        learning_rate, momentum, weight_decay: of every training: SGD, each time with a cosine of its own.
        distillation: weight of the unpruned network's outputs in it.
        statistics_images: training images that batch norms are averaged over in the end; 0: they stay as they are.
    """

    macs: Share | None = None
    parameters: Share | None = None
    criterion: str = "taylor"
    images: Count = 512
    selector: str = "global"
    round_to: Count = 1
    min_keep: Count = 1
    keep: tuple[str, ...] = ()
    schedule: Literal["one-shot", "iterative", "entwined", "soft-to-hard"] = "one-shot"
    steps: Count = 5
    step_epochs: CountOrZero = 1
    fine_tune_epochs: CountOrZero = 10
    learning_rate: Positive = 0.02
    momentum: Momentum = 0.9
    weight_decay: NonNegative = 5e-4
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    statistics_images: CountOrZero = 0

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.macs is None) == (self.parameters is None):
            raise ValueError("give one budget: macs = 0.5 keeps half of the multiply-accumulates; or parameters = 0.5")
        return self


class QuantiseConfig(Section):
    """[quantise]: 8-bit integers.

    Attributes:
        calibration_images: images the observers see; absent: [data] calibration_images.
        resolution: bits that the circuits to be chosen tell apart: below 8 the ranges of activations are narrower, so
            that rough circuits see larger codes; about 5 for circuits that save over 90 %. What exact 8 bit is taken to
            be, in every comparison, keeps the ranges that are best for 8 bits.
        fine_tune_epochs, learning_rate: quantisation-aware training afterwards.
    """

    calibration_images: Count | None = None
    resolution: Annotated[int, Field(ge=2, le=8)] = 8
    fine_tune_epochs: CountOrZero = 0
    learning_rate: Positive = 1e-3


class ToleranceConfig(Section):
    """[tolerance]: how much error each layer bears.

    Attributes:
        method: "agn" learns noise per layer (Trommer, ICCAD 2022); "agn-energy" does too, rewarded by the energy of the
            circuits that [select] allows; "fisher" takes one gradient pass.
        preset: hyper-parameters of the AGN search: "short" (3 epochs), or those published for a network; "qos-" are of
            its successor QoS-Nets. The keys below change single ones.
        lambda_: weight of the noise reward in the AGN loss; written `lambda`.
        sigma_init, sigma_max: start and cap of the relative noise.
        epochs, learning_rate, momentum: AGN search.
        decay_every: epochs after which its learning rate is divided by ten; 0: never.
        images: training images of the gradient pass.
    """

    method: Literal["agn", "agn-energy", "fisher"] = "fisher"
    preset: AgnPreset = "short"
    lambda_: NonNegative | None = Field(default=None, alias="lambda")
    sigma_init: Positive | None = None
    sigma_max: Positive | None = None
    epochs: Count | None = None
    learning_rate: Positive | None = None
    momentum: Momentum | None = None
    decay_every: CountOrZero | None = None
    images: Count = 1024

    @model_validator(mode="after")
    def _start_below_cap(self) -> Self:
        cap = 0.5 if self.sigma_max is None else self.sigma_max  # no preset's is above it
        if self.sigma_init is not None and self.sigma_init > cap:
            raise ValueError(f"sigma_init {self.sigma_init:g} is above sigma_max {cap:g}")
        return self


class SelectConfig(Section):
    """[select]: one multiplier per layer.

    Attributes:
        library: "default" (generated circuits), "evoapprox" (the folder `multipliers` of the data root), or the path of
            an EvoApprox folder or a saved library.
        circuits: names or patterns ("mul8u_*") of the circuits allowed; empty: all.
        operands: how a circuit may be used.
        circuits_at_most: distinct circuits that one choice may use, pinned ones included; absent: any number.
        area_um2: area that the distinct circuits of one choice may take together, one of each; absent: any.
        pins: table of layer name or pattern -> circuit that it takes, in whatever coding and operand order is best.
        method: "knapsack" gives the whole front; "greedy" is the published matching, "uniform" one circuit for all
            layers, "nsga2" the evolutionary search.
        evaluations: choices that "nsga2" looks at.
        error_model: name of an error model.
        cost: "hardware" charges multiplication and what the weight coding adds on [energy] hardware; "multiplication"
            the multiplication alone, as papers do.
        tune: integer weights are moved to where their circuits err less (no labels, no gradients), and circuits chosen
            for such weights; false: only gain and bias of each channel are corrected.
        patches: sampled receptive fields per layer.
        max_loss: budget: accuracy that may be lost against 8-bit exact on validation images, percentage points,
            before any retraining.
        max_degradation: budget: predicted increase of the loss function.
        energy: budget: share of multiplication energy to keep, in (0, 1], sign logic and wider weights not counted.
        candidates: points of the front that are measured bit-exactly.
        candidate_images: validation images they are measured on; absent: all.
    """

    library: str = "default"
    circuits: tuple[str, ...] = ()
    operands: Annotated[tuple[OperandMode, ...], Field(min_length=1)] = ("sign-magnitude", "affine")
    circuits_at_most: Count | None = None
    area_um2: Positive | None = None
    pins: dict[str, str] = {}
    method: Literal["knapsack", "greedy", "uniform", "nsga2"] = "knapsack"
    evaluations: Count = 2000
    error_model: Literal["single", "monte-carlo", "published", "patch-channel", "sampled"] = "patch-channel"
    cost: Literal["hardware", "multiplication"] = "hardware"
    tune: bool = True
    patches: Count = 512
    max_loss: NonNegative | None = None
    max_degradation: NonNegative | None = None
    energy: Share | None = None
    candidates: Count = 6
    candidate_images: Count | None = None
    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = (("max_loss", "max_degradation", "energy"),)

    @property
    def budget(self) -> tuple[Literal["max_loss", "max_degradation", "energy"], float]:
        """Which budget holds, and its value; one percentage point of accuracy where none was given."""
        if self.max_degradation is not None:
            return "max_degradation", self.max_degradation
        if self.energy is not None:
            return "energy", self.energy
        return "max_loss", 1.0 if self.max_loss is None else self.max_loss


class RetrainConfig(Section):
    """[retrain]: training with the bit-exact forward.

    Attributes:
        optimiser: "sgd", or "channel-adam", whose learning rate is in units of the largest weight of a channel.
        epochs, learning_rate, momentum, weight_decay: of its cosine; learning_rate absent: 1e-3 for "sgd", 3e-4 for
            "channel-adam".
        warmup_steps: first steps, over which the learning rate also rises linearly.
        temperature, distillation: softness of the floating-point teacher's outputs, and their weight in [0, 1].
        gradient_clip: largest norm of the gradient.
        gradient: of the products: "line", of the lines nearest to the tables; "straight", of exact products; 0..125:
            smoothed differences of the tables, averaged over so many entries on either side (published: 1..64).
        ema: decay of the running average of the weights that is kept instead of the last ones; absent: none.
        mixup: distil on mixed pairs of images; needs distillation = 1.
        magnitude: RandAugment of training images, 0..30; 0: none. With weights that were trained on them, as strong as
            [data] validation_magnitude.
        cutout: side in pixels of a black square in every training image; 0: none.
        validation: which weights are kept; absent: the last; otherwise those best on the validation images (those
            before the first step among them): "accuracy", or "divergence" from the floating-point network, which still
            says something where that was trained on the validation images, as published weights are.
        validate_every: steps between validations, beside one after every epoch.
        patience: validations without a new best after which training ends; absent: never before its time.
    """

    optimiser: Literal["sgd", "channel-adam"] = "channel-adam"
    epochs: Count = 1
    learning_rate: Positive | None = None
    momentum: Momentum = 0.9
    weight_decay: NonNegative = 0.0
    warmup_steps: CountOrZero = 0
    temperature: Positive = 4.0
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    gradient_clip: Positive = 3.0
    gradient: Annotated[Literal["line", "straight"] | int, BeforeValidator(_known_gradient)] = "line"
    ema: Momentum | None = None
    mixup: bool = False
    magnitude: Annotated[int, Field(ge=0, le=30)] = 0
    cutout: CountOrZero = 0
    validation: Literal["accuracy", "divergence"] | None = None
    validate_every: Count | None = None
    patience: Count | None = None

    @model_validator(mode="after")
    def _keys_go_together(self) -> Self:
        if self.mixup and self.distillation != 1:
            raise ValueError(f"mixup needs distillation = 1 (mixed images have no label), got {self.distillation:g}")
        if self.validation is None and (self.patience or self.validate_every):
            raise ValueError('patience and validate_every need validation = "accuracy" or "divergence"')
        return self


class DeployConfig(Section):
    """[deploy]: what the integer program is built for.

    Attributes:
        targets: "onnx", "tvm" (this machine), or a device such as "cortex-m4", "aarch64", "x86-64".
        golden_images: test images on which all back ends must give the same integers.
    """

    targets: tuple[str, ...] = ("onnx", "tvm", "cortex-m4")
    golden_images: Count = 100


class EnergyConfig(Section):
    """[energy]: the device that is accounted for.

    Attributes:
        hardware: a name that comes with picojoule, or the path of a hardware description (.toml); absent: the
            default one.
    """

    hardware: str | None = None


class RunConfig(Section):
    """A whole run.

    Attributes:
        name: names the run folder.
        seed: of initialisation, batch order, augmentation and noise.
        threads: CPU threads; absent: all.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "run"
    seed: CountOrZero = 0
    threads: Count | None = None
    model: ModelConfig
    data: DataConfig
    train: TrainConfig | None = None
    prune: PruneConfig | None = None
    quantise: QuantiseConfig = QuantiseConfig()
    tolerance: ToleranceConfig = ToleranceConfig()
    select: SelectConfig = SelectConfig()
    retrain: RetrainConfig | None = None
    deploy: DeployConfig = DeployConfig()
    energy: EnergyConfig = EnergyConfig()

    @model_validator(mode="after")
    def _weights_from_somewhere(self) -> Self:
        if self.model.weights is None and self.train is None:
            raise ValueError('the model has no weights: give [model] weights = "file" or a [train] section')
        return self
