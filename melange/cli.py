"""The command line: one file per subcommand in melange/commands; without one, `run`.

Exit codes: 0 all done; 1 a significant regression, with --fail-on-regression; 2 a mistake of the
user's, in one line; 3 some cells failed, are disputed or, with --fail-on-regression, were not
judged; 4 a bug, in one line that names the file
with the traceback. 1 takes precedence over 3, so that failed cells do not hide a regression.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Protocol, cast

from melange import __version__
from melange.commands import (
    compare,
    exits,
    export,
    keep,
    listing,
    plan,
    prune,
    report,
    rescore,
    run,
    trends,
)
from melange.harness.errors import HarnessError

ABOUT = ("-h", "--help", "--version")


class Command(Protocol):
    NAME: str
    HELP: str
    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def execute(self, options: argparse.Namespace) -> int:
        """Returns the exit code.

        Raises:
            HarnessError: a mistake of the user's, in one line.
        """
        ...


COMMANDS = tuple(
    cast(Command, module)
    for module in (run, compare, plan, listing, report, rescore, export, trends, prune, keep)
)


def main(arguments: Sequence[str], prog: str = "run_all.py") -> int:
    options = parse(arguments, prog)
    try:
        code: int = options.execute(options)
        sys.stdout.flush()
        return code
    except HarnessError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return exits.USER_MISTAKE
    except KeyboardInterrupt:
        print(f"{prog}: interrupted; run the same command to resume", file=sys.stderr)
        return exits.INTERRUPTED
    except BrokenPipeError:  # `| head` has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.ALL_DONE
    except Exception as error:
        path = write_traceback()
        said = f"{type(error).__name__}: {error}"
        print(f"{prog}: {said}; this is a bug, its traceback is in {path}", file=sys.stderr)
        return exits.OUR_MISTAKE


def write_traceback() -> Path:
    """Write the traceback of the current exception, for a bug report."""
    with NamedTemporaryFile("w", prefix="melange-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    return Path(file.name)


def melange() -> int:
    """The console script."""
    return main(sys.argv[1:], prog="melange")


def parse(arguments: Sequence[str], prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Compare ways of combining language models: measure, then render the report.",
        epilog=f"`{prog} --suite jan2024` is short for `{prog} run --suite jan2024`; "
        f"`{prog} run --help` lists its options.",
    )
    parser.add_argument("--version", action="version", version=f"melange {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.NAME,
            help=command.HELP,
            description=f"{command.HELP[0].upper()}{command.HELP[1:]}.",
            epilog=f"example: {prog} {command.NAME} {command.EXAMPLE}",
        )
        command.add_arguments(sub)
        sub.set_defaults(execute=command.execute, prog=prog, usage_error=sub.error)
    given = list(arguments)
    if not given or (given[0].startswith("-") and given[0] not in ABOUT):
        given.insert(0, "run")
    return parser.parse_args(given)
