"""`trends`: runs over time."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from melange.commands.exits import ALL_DONE

NAME = "trends"
HELP = "show a folder of runs as trends, with the steps in them"
EXAMPLE = "runs/nightly"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="of runs")


def execute(options: Namespace) -> int:
    from melange.reports.render import render_trends

    print(f"trends: {render_trends(options.folder)}")
    return ALL_DONE
