"""The sections of a run configuration, with their defaults, ranges and meaning.

Paths are relative to the folder picojoule is started in. An absent optional section ([train], [prune],
[retrain]) means that the stage does not take place.
"""

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Option = bool | int | float | str
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
OperandMode = Literal["sign-magnitude", "sign-magnitude-9", "affine", "signed"]


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
    calibration_images: Count = 512
    augment: bool = True
    options: dict[str, Option] = {}


class TrainConfig(Section):
    """[train]: training from scratch, SGD with a cosine learning rate."""

    epochs: Count = 20
    learning_rate: Positive = 0.1
    momentum: Momentum = 0.9
    weight_decay: NonNegative = 5e-4


class PruneConfig(Section):
    """[prune]: structured pruning.

    Attributes:
        macs: share of multiply-accumulates to keep, in (0, 1].
        criterion: name of the importance score.
        images: training images the criterion may see.
        selector: "global" compares channels of all layers, "local" takes the same share of each.
        round_to: kept channels are a multiple of it.
        min_keep: fewest channels kept per group.
        keep: layer-name patterns that are left alone.
        fine_tune_epochs, learning_rate, momentum, weight_decay: fine-tuning afterwards.
    """

    macs: Share
    criterion: str = "taylor"
    images: Count = 512
    selector: Literal["global", "local"] = "global"
    round_to: Count = 1
    min_keep: Count = 1
    keep: tuple[str, ...] = ()
    fine_tune_epochs: CountOrZero = 10
    learning_rate: Positive = 0.02
    momentum: Momentum = 0.9
    weight_decay: NonNegative = 5e-4


class QuantiseConfig(Section):
    """[quantise]: 8-bit integers.

    Attributes:
        calibration_images: images the observers see; absent: [data] calibration_images.
        fine_tune_epochs, learning_rate: quantisation-aware training afterwards.
    """

    calibration_images: Count | None = None
    fine_tune_epochs: CountOrZero = 0
    learning_rate: Positive = 1e-3


class ToleranceConfig(Section):
    """[tolerance]: how much error each layer bears.

    Attributes:
        method: "agn" learns noise per layer (Trommer, ICCAD 2022); "fisher" takes one gradient pass.
        lambda_: weight of the noise reward in the AGN loss; written `lambda`.
        sigma_init, sigma_max: start and cap of the relative noise.
        epochs, learning_rate, momentum: AGN search.
        images: training images of the gradient pass.
    """

    method: Literal["agn", "fisher"] = "fisher"
    lambda_: NonNegative = Field(default=0.2, alias="lambda")
    sigma_init: Positive = 0.05
    sigma_max: Positive = 0.5
    epochs: Count = 3
    learning_rate: Positive = 1e-2
    momentum: Momentum = 0.9
    images: Count = 1024

    @model_validator(mode="after")
    def _start_below_cap(self) -> Self:
        if self.sigma_init > self.sigma_max:
            raise ValueError(f"sigma_init {self.sigma_init:g} is above sigma_max {self.sigma_max:g}")
        return self


class SelectConfig(Section):
    """[select]: one multiplier per layer.

    Attributes:
        library: "default" (generated circuits), "evoapprox" (the folder `multipliers` of the data root), or the path of
            an EvoApprox folder or a saved library.
        circuits: names or patterns ("mul8u_*") of the circuits allowed; empty: all.
        operands: how a circuit may be used.
        method: "knapsack" gives the whole front; "greedy" is the published matching.
        error_model: name of an error model.
        cost: "hardware" charges multiplication and what the weight coding adds on [energy] hardware; "multiplication"
            the multiplication alone, as papers do.
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
    method: Literal["knapsack", "greedy"] = "knapsack"
    error_model: Literal["single", "published", "patch-channel", "sampled"] = "patch-channel"
    cost: Literal["hardware", "multiplication"] = "hardware"
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
    """[retrain]: training with the bit-exact forward; gradients straight through, or of the product tables.

    Attributes:
        epochs, learning_rate, momentum, weight_decay: of SGD with a cosine learning rate.
        temperature, distillation: softness of the floating-point teacher's outputs, and their weight in [0, 1].
        gradient_clip: largest norm of the gradient.
        half_window: absent: straight-through gradients; 0..125: smoothed differences of the product tables, averaged
            over so many entries on either side (published: 1..64).
    """

    epochs: Count = 1
    learning_rate: Positive = 1e-3
    momentum: Momentum = 0.9
    weight_decay: NonNegative = 0.0
    temperature: Positive = 4.0
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    gradient_clip: Positive = 3.0
    half_window: Annotated[int, Field(ge=0, le=125)] | None = None


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
