"""Configurations of every network published with AGN, and of its successor QoS-Nets.

Source: papers/approximate_networks.md §1, read there in the authors' code. Four stages of training, all with SGD of
momentum 0.9: floating point, quantisation-aware, search with noise, retraining with the chosen circuits.
"""

from dataclasses import dataclass

from noise_models.agn.settings import AgnSettings


@dataclass(frozen=True)
class Schedule:
    """How one stage trains.

    Attributes:
        epochs: passes over the training data.
        learning_rate: to start with.
        weight_decay: of SGD.
        decay: factor on the learning rate at each decay.
        decay_at: epochs before which it decays.
        patience: instead, it decays after so many epochs without a better validation accuracy; 0: not so.
    """

    epochs: int
    learning_rate: float
    weight_decay: float = 0.0
    decay: float = 0.1
    decay_at: tuple[int, ...] = ()
    patience: int = 0

    @classmethod
    def stepped(cls, epochs: int, learning_rate: float, every: int) -> "Schedule":
        """The learning rate is divided by ten after every so many epochs."""
        return cls(epochs, learning_rate, decay_at=tuple(range(every, epochs, every)))


@dataclass(frozen=True)
class PublishedRun:
    """One network's stages.

    Attributes:
        data: set of images.
        floating: training from scratch, or of ImageNet weights on Tiny-ImageNet.
        quantisation_aware: with 8-bit weights and activations.
        search: AGN.
        retraining: with approximate circuits.
        batch_size: images.
    """

    data: str
    floating: Schedule
    quantisation_aware: Schedule
    search: AgnSettings
    retraining: Schedule
    batch_size: int = 128


_RESNET = PublishedRun(
    "cifar10",
    Schedule(180, 0.1, weight_decay=1e-4, decay_at=(90, 135)),
    Schedule.stepped(30, 1e-2, every=10),
    AgnSettings(epochs=30, learning_rate=0.1, decay_every=10),
    Schedule.stepped(10, 1e-3, every=4),
)
_VGG = PublishedRun(
    "tiny-imagenet",
    Schedule(30, 5e-2, weight_decay=5e-4, decay=0.2, patience=3),
    Schedule.stepped(8, 1e-3, every=4),
    AgnSettings(epochs=3, learning_rate=5e-4, decay_every=2),
    Schedule.stepped(2, 1e-3, every=1),
)
_ALEXNET = PublishedRun(
    "tiny-imagenet",
    Schedule(30, 1e-2, weight_decay=1e-4, decay_at=(10, 20)),
    Schedule.stepped(8, 5e-4, every=4),
    AgnSettings(epochs=5, learning_rate=5e-4, decay_every=2),
    Schedule.stepped(2, 1e-3, every=1),
)
_MOBILENET = PublishedRun(
    "tiny-imagenet",
    Schedule(30, 0.1, decay=0.2, patience=3),
    Schedule.stepped(8, 5e-3, every=4),
    AgnSettings(epochs=5, learning_rate=5e-3, decay_every=2),
    Schedule.stepped(2, 3e-3, every=1),
)
_LENET = PublishedRun(
    "mnist",
    Schedule(10, 0.1, weight_decay=1e-4, decay=0.75, decay_at=(5,)),
    Schedule(1, 1e-3),
    AgnSettings(sigma_init=0.025, epochs=3, learning_rate=1e-3, decay_every=4),
    Schedule.stepped(5, 1e-3, every=2),
)


def _qos(data: str, strength: float, sigma_max: float, sigma_init: float) -> PublishedRun:
    """QoS-Nets: ten epochs of search with the optimiser of quantisation-aware training."""
    return PublishedRun(
        data,
        _RESNET.floating,
        _RESNET.quantisation_aware,
        AgnSettings(strength, sigma_max, sigma_init, epochs=10, learning_rate=1e-2, decay_every=10),
        Schedule(10, 1e-2, decay_at=(5, 8)),
    )


PUBLISHED: dict[str, PublishedRun] = {
    "lenet5": _LENET,
    **{f"resnet{depth}": _RESNET for depth in (8, 14, 20, 32)},
    **{f"vgg{depth}": _VGG for depth in (11, 13, 16, 19)},
    "alexnet": _ALEXNET,
    "mobilenet_v2": _MOBILENET,
    "qos-resnet8": _qos("cifar10", 0.3, 0.3, 0.1),
    "qos-resnet14": _qos("cifar10", 0.3, 0.15, 0.05),
    "qos-resnet20": _qos("cifar10", 0.2, 0.075, 0.01),
    "qos-resnet32": _qos("cifar10", 0.15, 0.075, 0.01),
    "qos-cifar100": _qos("cifar100", 0.001, 0.005, 0.001),
}
"""By network; sigma_init of LeNet5 is the tutorial's (the code's default is 0.1)."""
