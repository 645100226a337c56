"""`report`: render again from what is stored."""

from argparse import ArgumentParser, Namespace

from melange.commands.arguments import add_comparison, add_study
from melange.commands.gate import open_gate, render
from melange.commands.study import open_study

NAME = "report"
HELP = "render the report again from the stored results"
EXAMPLE = "--suite jan2024 --compare previous"


def add_arguments(parser: ArgumentParser) -> None:
    add_study(parser)
    add_comparison(parser)


def execute(options: Namespace) -> int:
    study = open_study(options)
    return render(study.folder, open_gate(options, study, stored=True))
