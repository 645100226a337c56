"""`prune`: delete the oldest runs."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from melange.commands.arguments import positive
from melange.commands.exits import ALL_DONE

NAME = "prune"
HELP = "delete the oldest runs of a folder, never a reference run"
EXAMPLE = "runs/nightly --keep 30"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="of runs")
    parser.add_argument(
        "--keep", type=positive, metavar="N", required=True, help="number of newest runs to keep"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print what would be deleted")


def execute(options: Namespace) -> int:
    """Print what is deleted, then delete it; with --dry-run, only print it."""
    from melange.harness.runs.retention import delete, plan_pruning

    pruning = plan_pruning(options.folder, keep=options.keep)
    for path, reason in pruning.kept:
        print(f"stays: {path}: {reason}")
    for night in pruning.to_delete:
        print(f"{'would go' if options.dry_run else 'goes'}: {night.folder}")
    if not options.dry_run:
        delete(pruning)
    said = "would be deleted" if options.dry_run else "deleted"
    print(f"{len(pruning.to_delete)} of {pruning.num_runs} runs {said}")
    return ALL_DONE
