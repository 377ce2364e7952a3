"""Networks by name, and their weights."""

from picojoule.models import cifar_resnet, demo_cnn, lenet5, mobilenet_v2_cifar, vgg16_bn, vit_tiny
from picojoule.models.published import published_weights
from picojoule.models.registry import (
    ModelEntry,
    PublishedWeights,
    check_input,
    make_model,
    model_entry,
    model_names,
    register_model,
)
from picojoule.models.weights import load_weights

__all__ = [
    "ModelEntry",
    "PublishedWeights",
    "check_input",
    "cifar_resnet",
    "demo_cnn",
    "lenet5",
    "load_weights",
    "make_model",
    "mobilenet_v2_cifar",
    "model_entry",
    "model_names",
    "published_weights",
    "register_model",
    "vgg16_bn",
    "vit_tiny",
]
