"""`export`: write a candidate as a folder that plain vLLM serves."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from melange.commands.arguments import add_study
from melange.commands.exits import ALL_DONE
from melange.commands.study import make_study_plan, open_study
from melange.harness.errors import HarnessError, unknown
from melange.harness.export import export, serving_command

NAME = "export"
HELP = "write a candidate as a folder for `vllm serve`"
EXAMPLE = "proxy-mix-a1.0 served/"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("candidate", metavar="CANDIDATE")
    parser.add_argument("folder", metavar="DIR", type=Path, help="where to write it")
    add_study(parser)


def execute(options: Namespace) -> int:
    study = open_study(options)
    plan = make_study_plan(study, options).plan
    name, names = options.candidate, [one.name for one in plan.candidates]
    if name not in names:
        raise unknown("candidate", name, names)
    if refused := next((cell.refused for cell in plan.cells if cell.candidate == name), ""):
        raise HarnessError(f"{name}: {refused}")
    export(plan.candidate(name), study.checkpoints, options.folder)
    command = serving_command(options.folder, plan.device)
    print(f"{name}: {options.folder}; serve it with `{command}`")
    return ALL_DONE
