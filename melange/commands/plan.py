"""`plan`: what a run would do."""

from argparse import ArgumentParser, Namespace

from melange.commands.arguments import add_study
from melange.commands.exits import ALL_DONE
from melange.commands.study import check_folder, make_study_plan, open_study
from melange.harness.outline import describe

NAME = "plan"
HELP = "what would run, how long it would take, and what is refused and why"
EXAMPLE = "--suite jan2024 --only proxy"


def add_arguments(parser: ArgumentParser) -> None:
    add_study(parser)


def execute(options: Namespace) -> int:
    study = open_study(options)
    plan = make_study_plan(study, options).plan
    check_folder(study, plan)
    print(describe(plan, study.checkpoints, study.folder))
    return ALL_DONE
