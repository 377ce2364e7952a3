"""Finds the published weight file of a registered network, or downloads it; checked by its SHA-256 either way."""

import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from picojoule.errors import UserError
from picojoule.files import atomic_path, hash_file
from picojoule.models.registry import PublishedWeights, model_entry

_TIMEOUT_S = 60


def published_weights(name: str, folders: Iterable[str | Path], *, download: bool = False) -> Path:
    """The published weight file of a network.

    Args:
        name: of a registered network.
        folders: where it may lie, itself or in a sub-folder `weights`; a download goes to the first one's `weights`.
        download: may it be fetched?

    Raises:
        UserError: the network has none; the file is missing and may not be downloaded; its checksum is wrong.
    """
    entry = model_entry(name)
    if entry is None or entry.weights is None:
        raise UserError(f"model {name}: has no published weights; name a file with [model] weights")
    published = entry.weights
    places = [Path(folder).expanduser() for folder in folders]
    for place in places:
        for path in (place / published.file_name, place / "weights" / published.file_name):
            if path.is_file():
                _check(path, published)
                return path
    if not download or not places:
        looked = ", ".join(str(place) for place in places)
        raise UserError(
            f"{published.file_name}: not in {looked}; let `picojoule run CONFIG --set data.download=true` fetch it, "
            f"or get it from {published.url} ({published.license})"
        )
    target = places[0] / "weights" / published.file_name
    with atomic_path(target) as temporary:
        _fetch(published.url, temporary)
        _check(temporary, published)
    return target


def _check(path: Path, published: PublishedWeights) -> None:
    found = hash_file(path)
    if not found.startswith(published.sha256_prefix):
        raise UserError(
            f"{path}: damaged: its SHA-256 should begin with {published.sha256_prefix}, it is {found[:8]}; delete it"
        )


def _fetch(url: str, path: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            path.write_bytes(answer.read())
    except urllib.error.URLError as error:
        raise UserError(f"{url}: cannot be downloaded ({error.reason}); put the file there by hand") from error
