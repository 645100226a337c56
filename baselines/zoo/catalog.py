"""Zoos by name or file."""

from collections.abc import Callable
from pathlib import Path

from melange.baselines.zoo.public import PublicZoo
from melange.baselines.zoo.shapes import ShapesZoo
from melange.baselines.zoo.shipped import ShippedZoo
from melange.baselines.zoo.spec import ZooSpec, read_spec
from melange.baselines.zoo.train import open_trained
from melange.harness.contracts import Zoo
from melange.harness.errors import HarnessError, unknown
from melange.harness.yaml_file import read_yaml

FOLDER = Path(__file__).parent
TRAINED, PUBLIC, SHAPES = "trained", "public", "shapes"


def zoo_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def open_zoo(name: str) -> Zoo:
    """A zoo of this folder by name, or a user's YAML file.

    `pocket@3` is the trained zoo pocket with seed 3.

    Raises:
        HarnessError: there is no such zoo, or its file is wrong.
    """
    stem, at, seed = name.rpartition("@")
    if at and seed.isdecimal() and stem in zoo_names():
        path = FOLDER / f"{stem}.yaml"
        if _kind(path) != TRAINED:
            raise HarnessError(f"zoo {name!r}: {stem} is not trained here, so it has no seeds")
        return _trained(read_spec(path).with_seed(int(seed)), path)
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if path.parent == FOLDER and path.stem not in zoo_names():
        raise unknown("zoo", name, zoo_names())
    return OPEN[_kind(path)](path)


def _kind(path: Path) -> str:
    kind: str = read_yaml(path).get("kind", PUBLIC)
    if kind not in OPEN:
        raise HarnessError(f"{path}: kind={kind!r}; allowed: {PUBLIC}, {SHAPES}, {TRAINED}")
    return kind


def _trained(spec: ZooSpec, path: Path) -> Zoo:
    if spec.shipped:
        return ShippedZoo(spec, path.absolute().with_suffix(""))
    return open_trained(spec)


OPEN: dict[str, Callable[[Path], Zoo]] = {
    TRAINED: lambda path: _trained(read_spec(path), path),
    PUBLIC: PublicZoo.read,
    SHAPES: ShapesZoo.read,
}
