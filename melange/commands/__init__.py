"""What the command line can do: a module a command, with NAME, HELP, EXAMPLE and two functions."""

from argparse import ArgumentParser, Namespace
from typing import Protocol, cast

from melange.commands import export, keep, listing, plan, prune, report, run, trends


class Command(Protocol):
    NAME: str
    HELP: str
    EXAMPLE: str

    def add_arguments(self, parser: ArgumentParser) -> None: ...

    def execute(self, options: Namespace) -> int:
        """Returns the exit code.

        Raises:
            HarnessError: the user's mistake, in one line.
        """
        ...


COMMANDS = tuple(
    cast(Command, module) for module in (run, plan, listing, report, export, trends, prune, keep)
)
