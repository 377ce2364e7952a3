"""`Store`: measurements in a folder, so that a benchmark of hours goes on where it was interrupted.

Every measurement is a small JSON file (or, of networks, a safetensors file) named after the hash of what it depends
on, written atomically. The program's own code is not part of that: after a change to it, start with another folder.
All values of a folder go into one file, and from there into a folder elsewhere (`pack`, `unpack`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from safetensors.torch import load_file, save_file
from torch import nn

from picojoule.files import Json, atomic_path, canonical_json, hash_json, read_json, write_json

Network = TypeVar("Network", bound=nn.Module)


class Store:
    """A folder of measurements."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, kind: str, key: Json, suffix: str = "") -> Path:
        """Where a measurement of this kind with this key lies."""
        return self.folder / kind / f"{hash_json(key)[:24]}{suffix}"

    def rows(self, part: str, network: str) -> Path:
        """Where the rows of a part lie."""
        return self.folder / "rows" / f"{network}.{part}.json"

    def value(self, kind: str, key: Json, measure: Callable[[], Json]) -> Json:
        """The stored value, measured where there is none."""
        path = self.path(kind, key, ".json")
        if not path.is_file():
            write_json(path, {"key": key, "value": measure()})
        return read_json(path)["value"]

    def pack(self, file: Path) -> None:
        """Writes all values there are into one file: by kind, what their keys have in common apart."""
        kinds: dict[str, list[Json]] = {}
        for path in sorted(self.folder.glob("*/*.json")):
            entry = read_json(path)
            if "key" in entry:
                kinds.setdefault(path.parent.name, []).append(entry)
        write_json(file, {kind: _common_apart(entries) for kind, entries in kinds.items()})

    def unpack(self, file: Path) -> None:
        """Takes over the values that `pack` wrote; what the folder holds stays as it is."""
        for kind, packed in read_json(file).items():
            for entry in packed["measurements"]:
                key, value = {**packed["common"], **entry["key"]}, entry["value"]
                self.value(kind, key, lambda value=value: value)  # type: ignore[misc]  # mypy knows no defaults here

    def network(self, key: Json, start: Network, prepare: Callable[[Network], object]) -> Network:
        """A network with its stored weights; `prepare` makes them, in place, where there are none."""
        path = self.path("networks", key, ".safetensors")
        if path.is_file():
            start.load_state_dict(load_file(path))
            return start
        prepare(start)
        with atomic_path(path) as temporary:
            save_file({name: tensor.detach().clone() for name, tensor in start.state_dict().items()}, temporary)
        return start


def _common_apart(entries: Sequence[Json]) -> Json:
    keys = [entry["key"] for entry in entries]
    common = {name: value for name, value in keys[0].items() if all(name in k and k[name] == value for k in keys)}
    found = [
        {"key": {name: value for name, value in entry["key"].items() if name not in common}, "value": entry["value"]}
        for entry in entries
    ]
    return {"common": common, "measurements": sorted(found, key=lambda entry: canonical_json(entry["key"]))}
