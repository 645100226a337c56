"""Compares every architecture with plain transformers: `make parity [ONLY="Gemma2 …"]`.

Tiny random checkpoints of each are evaluated by run_all.py, in a separate process, as singles,
merges, an average, a proxy and a mixture, and compared with plain transformers and the formulas. A
second call resumes the first; architectures that match ONLY (names or globs) are tried again. Once
all have results, docs/architectures.md is rewritten.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from fnmatch import fnmatchcase
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
# Before anything imports torch: threads do not help with matrices this small.
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

from parity.architectures import ARCHITECTURES  # noqa: E402
from parity.page import outcome_line, render  # noqa: E402

OUT = ROOT / "runs" / "parity"
PAGE = ROOT / "docs" / "architectures.md"
LIMIT_SEC = 300.0
"""For all candidates of an architecture; on two idle cores they take 20 to 40 s."""
GOOD = ("ok", "refused")


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    names = chosen(options.only)
    lines = read_lines(OUT / "cells.jsonl")
    wrong = [name for name in names if name in lines and not is_good(lines[name])]
    due = wrong if options.wrong else [n for n in names if options.only or n not in lines]
    for line in studies(due, options.jobs, options.limit):
        lines[line["architecture"]] = line
        append(OUT / "cells.jsonl", line)
        print(outcome_line(line), flush=True)
    missing = [name for name in ARCHITECTURES if name not in lines]
    if missing:
        print(f"{PAGE.name} waits for {len(missing)} architectures: {', '.join(missing)}")
    else:
        PAGE.write_text(render(lines), encoding="utf-8")
        print(f"written: {PAGE}")
    return 0 if all(is_good(lines[name]) for name in names if name in lines) else 3


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="architectures to try again; globs")
    parser.add_argument("--wrong", action="store_true", help="try again what was not right")
    parser.add_argument("--jobs", type=int, default=idle_cores(), help="architectures at once")
    parser.add_argument("--limit", type=float, default=LIMIT_SEC, help="seconds for each")
    return parser.parse_args(arguments)


def idle_cores() -> int:
    """1 or 2: an architecture keeps about one core busy."""
    return max(1, min(2, round((os.cpu_count() or 1) - os.getloadavg()[0])))


def chosen(only: Sequence[str]) -> list[str]:
    unknown = [glob for glob in only if not any(fnmatchcase(one, glob) for one in ARCHITECTURES)]
    if unknown:
        sys.exit(f"no architecture {', '.join(unknown)}; there are {', '.join(ARCHITECTURES)}")
    return [one for one in ARCHITECTURES if not only or any(fnmatchcase(one, g) for g in only)]


def studies(names: Sequence[str], jobs: int, limit_sec: float) -> Iterator[dict[str, Any]]:
    """Lines in the order in which studies end."""
    if jobs == 1 or len(names) < 2:
        yield from (one_study(name, limit_sec) for name in names)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(one_study, name, limit_sec) for name in names]
        yield from (one.result() for one in as_completed(waiting))


def one_study(name: str, limit_sec: float) -> dict[str, Any]:
    import torch
    from transformers.utils import logging

    from parity.study import study

    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return study(name, ARCHITECTURES[name], OUT, limit_sec)


def is_good(line: Mapping[str, Any]) -> bool:
    return all(one["outcome"] in GOOD for one in line["cells"].values())


def read_lines(file: Path) -> dict[str, dict[str, Any]]:
    """Architecture -> its latest line; a torn line counts as missing."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    lines = map(json.loads, whole)
    return {one["architecture"]: one for one in lines if one["architecture"] in ARCHITECTURES}


def append(file: Path, line: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a", encoding="utf-8") as handle:
        handle.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
