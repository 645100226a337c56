"""`make aa-runs`: pairs of runs in which nothing changes, for `make gate-study`.

Each is a run of alike.yaml by the command line, in processes of its own. The runs of a pair follow
each other, as 00-a and 00-b. A run that is finished is not measured again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITE = Path(__file__).with_name("alike.yaml")


def folders(parent: Path, num_pairs: int) -> Iterator[Path]:
    for number in range(num_pairs):
        for side in "ab":
            yield parent / f"{number:02d}-{side}"


def is_finished(folder: Path) -> bool:
    manifest = folder / "manifest.json"
    return manifest.is_file() and bool(json.loads(manifest.read_text()).get("finished"))


def command(folder: Path) -> list[str]:
    return [sys.executable, str(ROOT / "run_all.py"), "--suite", str(SUITE),
            "--device", "cpu", "--out", str(folder)]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Pairs of runs that differ in noise only.")
    parser.add_argument("parent", type=Path)
    parser.add_argument("--pairs", type=int, default=10)
    options = parser.parse_args()
    for folder in folders(options.parent, options.pairs):
        if not is_finished(folder):
            subprocess.run(command(folder), check=True)


if __name__ == "__main__":
    main()
