"""`compare`: models named on the command line, without a zoo file."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from melange.baselines.zoo.kinship import parents, role_names
from melange.baselines.zoo.public import PublicZoo
from melange.baselines.zoo.public_file import read_zoo
from melange.commands import run
from melange.harness.errors import HarnessError, unknown

NAME = "compare"
HELP = "measure these models and their combinations; how they are related is inferred"
EXAMPLE = "models/base models/base-math models/base-code --limit 200"
ZOO_FILE = "zoo.yaml"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a folder, or a name on the hub")
    parser.add_argument("--base", metavar="MODEL", help="the model that the others were made from")
    run.add_arguments(parser)


def execute(options: Namespace) -> int:
    if options.zoo != "auto":
        raise HarnessError("compare names its models; leave --zoo out, or use `run --zoo`")
    options.zoo = str(write_zoo(options))
    return run.execute(options)


def write_zoo(options: Namespace) -> Path:
    """Write a zoo file of these models to the run's folder; keep one that exists, it may be edited.

    With `--base` the relations are inferred again.

    Raises:
        HarnessError: a model does not exist, or is given twice.
    """
    roles = role_names([_absolute(one) for one in dict.fromkeys(options.models)])
    if len(roles) < 2:
        raise HarnessError("compare needs at least two different models")
    options.out = options.out or Path("runs") / f"compare-{'-'.join(roles)}"[:100]
    path = options.out / ZOO_FILE
    if options.base is None and path.is_file() and set(read_zoo(path)[1]) == set(roles):
        print(f"roles as in {path}")
        return path
    base = _named_base(options.base, roles)
    with TemporaryDirectory() as folder:
        unrelated = _write(Path(folder) / ZOO_FILE, roles)
        found = parents(dict(PublicZoo.read(unrelated).build(list(roles))), base)
    related = {
        name: {"model": model, "of": found[name]} if found[name] else model
        for name, model in roles.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, related)
    for name, parent in found.items():
        print(f"{name}: {f'made from {parent}' if parent else 'a base'}")
    print(f"edit {path} if that is wrong")
    return path


def _write(path: Path, roles: Mapping[str, Any]) -> Path:
    content = {"name": path.absolute().parent.name, "roles": dict(roles)}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def _absolute(model: str) -> str:
    """The absolute path of a folder; a hub name unchanged."""
    folder = Path(model).expanduser()
    return os.path.normpath(folder.absolute()) if folder.is_dir() else model


def _named_base(base: str | None, roles: dict[str, str]) -> str:
    if base is None:
        return ""
    names = {model: name for name, model in roles.items()}
    if (given := _absolute(base)) not in names:
        raise unknown("base", base, names)
    return names[given]
