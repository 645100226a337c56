"""Zoos by name or file."""

from pathlib import Path

from baselines.zoo.public import PublicZoo
from baselines.zoo.shapes import ShapesZoo
from baselines.zoo.train import open_zoo as open_trained
from harness.contracts import Zoo
from harness.errors import HarnessError, unknown
from harness.yaml_file import read_yaml

FOLDER = Path(__file__).parent
TRAINED, PUBLIC, SHAPES = "trained", "public", "shapes"


def zoo_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def open_zoo(name: str) -> Zoo:
    """A zoo of this folder by name, or a user's YAML file.

    Raises:
        HarnessError: there is no such zoo, or its file is wrong.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if path.parent == FOLDER and path.stem not in zoo_names():
        raise unknown("zoo", name, zoo_names())
    kind = read_yaml(path).get("kind", PUBLIC)
    if kind == TRAINED:
        return open_trained(path)
    if kind == PUBLIC:
        return PublicZoo.read(path)
    if kind == SHAPES:
        return ShapesZoo.read(path)
    raise HarnessError(f"{path}: kind={kind!r}; allowed: {PUBLIC}, {SHAPES}, {TRAINED}")
