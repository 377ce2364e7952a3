"""Networks by name: registered ones, torchvision's classifiers, and the user's own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from picojoule.errors import UserError, did_you_mean
from picojoule.torchvision_ops import import_torchvision
from picojoule.user_code import described, import_factory

ModelFactory = Callable[..., nn.Module]


@dataclass(frozen=True)
class PublishedWeights:
    """A weight file that its authors published.

    Attributes:
        url: where; the file name ends in the first digits of its SHA-256, "resnet20-12fca82f.th".
        source, license: of the weights.
        top1_percent: accuracy on the data set's test images.
    """

    url: str
    source: str
    license: str
    top1_percent: float

    @property
    def file_name(self) -> str:
        """Last part of the address."""
        return self.url.rsplit("/", 1)[1]

    @property
    def sha256_prefix(self) -> str:
        """What the file's SHA-256 begins with."""
        return self.file_name.rsplit(".", 1)[0].rsplit("-", 1)[1]


@dataclass(frozen=True)
class ModelEntry:
    """A registered network.

    Attributes:
        name: of the network.
        factory: makes it with fresh weights; keyword arguments are [model] options.
        input_shape: (C, H, W) it was made for.
        weights: the published ones, where there are any.
    """

    name: str
    factory: ModelFactory
    input_shape: tuple[int, int, int]
    weights: PublishedWeights | None = None


_ENTRIES: dict[str, ModelEntry] = {}


def register_model(
    name: str, *, input_shape: tuple[int, int, int], weights: PublishedWeights | None = None
) -> Callable[[ModelFactory], ModelFactory]:
    """Decorator: makes a factory known by a name.

    Args:
        name: of the network.
        input_shape: (C, H, W) of one image.
        weights: published weights that fit it.

    Raises:
        ValueError: the name is taken.
    """

    def register(factory: ModelFactory) -> ModelFactory:
        if name in _ENTRIES:
            raise ValueError(f"model {name!r} is already registered; choose another name")
        _ENTRIES[name] = ModelEntry(name, factory, input_shape, weights)
        return factory

    return register


def model_names() -> tuple[str, ...]:
    """Names of the registered networks."""
    return tuple(sorted(_ENTRIES))


def model_entry(name: str) -> ModelEntry | None:
    """The registered network of that name; None for torchvision's and the user's own."""
    return _ENTRIES.get(name)


def make_model(name: str, **options: Any) -> nn.Module:
    """Makes a network with fresh weights, in evaluation mode.

    Args:
        name: a registered name, a torchvision classifier ("mobilenet_v2"), or "package.module:factory".
        options: keyword arguments of the factory, for instance num_classes=10.

    Raises:
        UserError: unknown name; options the factory does not take; a factory that fails or returns no network.
    """
    factory = _find(name)
    try:
        model = factory(**options)
    except Exception as error:
        if isinstance(error, TypeError) and options and "argument" in str(error):
            raise UserError(f"model {name}: options {sorted(options)} do not fit: {error}") from error
        if ":" not in name:
            raise
        raise UserError(f"model {name}: the factory failed with {described(error)}") from error
    if not isinstance(model, nn.Module):
        raise UserError(f"model {name}: expected the factory to return a torch.nn.Module, got {type(model).__name__}")
    return model.eval()


def _find(name: str) -> ModelFactory:
    if name in _ENTRIES:
        return _ENTRIES[name].factory
    if ":" in name:
        return import_factory(name)
    import_torchvision()
    from torchvision import models

    classifiers = models.list_models(module=models)
    if name in classifiers:
        return lambda **options: models.get_model(name, weights=None, **options)
    hint = did_you_mean(name, {*_ENTRIES, *classifiers}) if len(name) > 1 else ""
    if not hint.startswith("; did you mean"):
        hint = f"; registered: {', '.join(model_names())}; also torchvision's classifiers and package.module:factory"
    raise UserError(f"unknown model {name!r}{hint}")


def check_input(model: nn.Module, shape: tuple[int, ...], *, name: str = "model", classes: int | None = None) -> int:
    """Runs one blank image through the network.

    Args:
        model: any network from images to class scores.
        shape: (C, H, W) of an image.
        name: for messages.
        classes: how many scores there must be.

    Returns:
        The number of class scores.

    Raises:
        UserError: the network does not take such an image, or does not give [1, classes].
    """
    given = "x".join(str(n) for n in shape)
    entry = model_entry(name)
    wanted = f"; it takes {'x'.join(str(n) for n in entry.input_shape)}" if entry else ""
    if entry is not None and tuple(shape) != entry.input_shape:
        raise UserError(f"model {name}: images of {given} (channels x height x width) do not fit{wanted}")
    was_training = model.training
    try:
        with torch.no_grad():
            output = model.eval()(torch.zeros(1, *shape))
    except (RuntimeError, ValueError, IndexError) as error:
        first = str(error).splitlines()[0]
        other = {p.dtype for p in model.parameters() if p.is_floating_point() and p.dtype != torch.float32}
        if other:
            raise UserError(
                f"model {name}: expected parameters of torch.float32, got {other.pop()}; let the factory return "
                f"model.float(). In half precision only `pruning.prune` takes networks, from Python"
            ) from error
        raise UserError(f"model {name}: images of {given} (channels x height x width) do not fit: {first}") from error
    finally:
        model.train(was_training)
    if not isinstance(output, torch.Tensor) or output.dim() != 2 or len(output) != 1:
        found = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise UserError(f"model {name}: expected class scores [1, classes] for one image, got {found}")
    scores = output.shape[1]
    if classes is not None and scores != classes:
        raise UserError(f"model {name}: gives {scores} class scores, the data has {classes} classes; set num_classes")
    return scores
