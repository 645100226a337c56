"""Commands that repeat the run, or one of its cells."""

import glob
import shlex

from melange.harness.runs.manifest import Manifest
from melange.reports.page import Block, Section
from melange.reports.view import RunView

ONE_CELL = "runs/one-cell"
TAKE_VALUES = {"--only", "--tasks", "--out", "--compare"}
ALONE = {"--report-only", "--plan", "--list", "--fail-on-regression"}


def block(view: RunView, subject: str) -> Block:
    manifest = view.run.manifest
    command = command_line(manifest)
    revision = (manifest.git_revision or "").removesuffix("-dirty")
    return Block(
        data={
            "command": command,
            "revision": revision,
            "dirty": (manifest.git_revision or "").endswith("-dirty"),
            "lock": f"locks/{'gpu' if manifest.device == 'cuda' else 'cpu'}.txt",
            "suite_command": suite_command(command),
            "candidates": [(name, _quoted(name)) for name in view.ranking],
            "tasks": [(name, _quoted(name)) for name in view.run.tasks],
            "out": ONE_CELL,
        }
    )


def command_line(manifest: Manifest) -> str:
    command = manifest.command
    return command if isinstance(command, str) else shlex.join(command)


def suite_command(command: str) -> str:
    """The command without options that restrict it to some cells, or that change its purpose."""
    words = command.split()
    kept: list[str] = []
    skip = False
    for word in words:
        name = word.partition("=")[0]
        if not skip and name not in TAKE_VALUES | ALONE:
            kept.append(word)
        skip = not skip and word in TAKE_VALUES
    return " ".join(kept)


def _quoted(name: str) -> str:
    """A shell argument whose pattern matches only this name."""
    return shlex.quote(glob.escape(name))


SECTION = Section("Run it again", "sections/reproduction.html", block)
