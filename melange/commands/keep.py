"""`keep`: mark a run that `prune` must not delete."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from melange.commands.exits import ALL_DONE

NAME = "keep"
HELP = "make a run a reference run, which `prune` does not delete"
EXAMPLE = "runs/nightly/2026-11-24"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="its folder")


def execute(options: Namespace) -> int:
    from melange.harness.runs.retention import mark

    mark(options.run)
    print(f"{options.run}: a reference run, which `prune` does not delete")
    return ALL_DONE
