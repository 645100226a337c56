"""`list`: what there is."""

from argparse import ArgumentParser, Namespace

from melange.baselines.zoo.catalog import zoo_names
from melange.commands.arguments import add_study
from melange.commands.exits import ALL_DONE
from melange.commands.study import make_study_plan, open_study
from melange.harness.outline import listing

NAME = "list"
HELP = "suites, zoos, and the tasks and candidates of a suite"
EXAMPLE = "--suite nightly"


def add_arguments(parser: ArgumentParser) -> None:
    add_study(parser)


def execute(options: Namespace) -> int:
    print(listing(make_study_plan(open_study(options), options).plan, zoo_names()))
    return ALL_DONE
