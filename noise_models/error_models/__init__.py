"""Error models: how much error a circuit makes in a layer. One file each, by name in `ERROR_MODELS`."""

from collections.abc import Mapping
from types import MappingProxyType

from noise_models.error_models.base import ErrorModel as ErrorModel
from noise_models.error_models.monte_carlo import MonteCarlo as MonteCarlo
from noise_models.error_models.patch_channel import PatchChannel as PatchChannel
from noise_models.error_models.published import Published as Published
from noise_models.error_models.sampled import Sampled as Sampled
from noise_models.error_models.sampled import sampled_errors as sampled_errors
from noise_models.error_models.single import SingleDistribution as SingleDistribution

ERROR_MODELS: Mapping[str, ErrorModel] = MappingProxyType(
    {model.name: model for model in (SingleDistribution(), MonteCarlo(), Published(), PatchChannel(), Sampled())}
)


def error_model(name: str) -> ErrorModel:
    """The error model of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in ERROR_MODELS:
        raise ValueError(f"error model {name!r} is none of {list(ERROR_MODELS)}")
    return ERROR_MODELS[name]
