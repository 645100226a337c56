"""Trains a zoo and writes the weights that ship with the project: `make zoo`.

    python -m melange.baselines.zoo.make [--zoo pocket] [--roles "small_mix large_mix"] [--seed N]

A killed training resumes where it was. With a seed other than the spec's nothing is shipped: the
weights stay in the cache, as the zoo `pocket@N`.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

from melange.baselines.zoo.ship import read_done, ship
from melange.baselines.zoo.shipped import ShippedZoo
from melange.baselines.zoo.spec import ZooSpec, read_spec
from melange.baselines.zoo.train import DONE, TrainedZoo, open_trained
from melange.baselines.zoo.workers import claimed, num_workers
from melange.harness.errors import HarnessError

FOLDER = Path(__file__).parent
ADOPTED = "adopted"
"""Key of done.json: the role is a copy of the shipped one, from which others are tuned."""


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        spec = read_spec(FOLDER / f"{options.zoo}.yaml")
        owners = {spec.owner(role)[0]: None for role in options.roles.split()}
        roles = tuple(owners) or tuple(spec.roles)
        if options.seed not in (None, spec.seed):
            return train_only(spec.with_seed(options.seed), roles)
        return train_and_ship(spec, roles, FOLDER / options.zoo)
    except HarnessError as error:
        print(f"make zoo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("make zoo: interrupted; run the same command to resume", file=sys.stderr)
        return 130


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m melange.baselines.zoo.make", description=__doc__
    )
    parser.add_argument("--zoo", default="pocket", help="name of a trained zoo")
    parser.add_argument("--roles", default="", help="roles to train (default: all)")
    parser.add_argument(
        "--seed", type=lambda text: int(text) if text else None, help="seed of the zoo"
    )
    return parser.parse_args(arguments)


def train_only(spec: ZooSpec, roles: Collection[str]) -> int:
    zoo = open_trained(spec)
    train(zoo, roles)
    print(f"{zoo.cache}: run it with `python run_all.py --zoo {spec.name}`")
    return 0


def train_and_ship(spec: ZooSpec, roles: Collection[str], root: Path) -> int:
    check_writable(root)
    zoo = open_trained(spec)
    shipped = ShippedZoo(spec, root)
    with claimed(zoo.cache):
        for role in filter(zoo.ready, roles):
            if ADOPTED in read_done(zoo, role):  # left by a call that was killed
                shutil.rmtree(zoo.path(role))
        for parent in untouched_parents(spec, roles):
            adopt(parent, shipped, zoo)
        train(zoo, roles)
        ship(zoo, roles, shipped)
        # The next `make zoo` trains again.
        shutil.rmtree(zoo.cache)
    return 0


def train(zoo: TrainedZoo, roles: Collection[str]) -> None:
    """Train what is missing, and say how long it took and how busy the cores were."""
    waiting = zoo.untrained(roles)
    minutes = zoo.wall_seconds(roles) / 60
    print(f"training {len(waiting)} roles of {zoo.name}: about {minutes:.0f} min", flush=True)
    started = time.monotonic()
    zoo.build(roles)
    seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    share = (used.ru_utime + used.ru_stime) / (seconds * num_workers())
    if waiting:
        print(f"trained in {seconds / 60:.1f} min, {num_workers()} cores {share:.0%} busy")


def untouched_parents(spec: ZooSpec, roles: Collection[str]) -> list[str]:
    """Parents of `roles` that are not to be trained themselves."""
    parents = dict.fromkeys(spec.training(role).parent for role in roles)
    return [parent for parent in parents if parent is not None and parent not in roles]


def adopt(role: str, shipped: ShippedZoo, zoo: TrainedZoo) -> None:
    """Copy the shipped role into the zoo, so that it is not trained again."""
    if zoo.ready(role):
        return
    try:
        source = shipped.folder(role)
    except HarnessError:
        return  # damaged or missing: it is trained again
    shutil.rmtree(zoo.path(role), ignore_errors=True)
    shutil.copytree(source, zoo.path(role))
    (zoo.path(role) / DONE).write_text(json.dumps({ADOPTED: True}))


def check_writable(root: Path) -> None:
    """
    Raises:
        HarnessError: the folder is not writable; better known before hours of training.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise HarnessError(
            f"{root} cannot be written ({reason}); use a checkout of your own, or SEED=N, "
            "which trains into the cache"
        ) from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
