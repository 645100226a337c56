#!/usr/bin/env python3
"""Measure what has not been measured yet, and render the report.

    python run_all.py --suite jan2024
    python run_all.py export proxy-mix-a1.0 served/    one candidate as a folder for `vllm serve`
    python run_all.py trends runs/nightly              a folder of runs as trends, with its steps
    python run_all.py --help                           all commands

The command line itself is melange/cli.py.
"""

import sys
from importlib.util import find_spec

NEEDED = ("jinja2", "matplotlib", "pandas", "psutil", "pyarrow", "pydantic", "yaml")
if missing := [name for name in NEEDED if find_spec(name) is None]:
    print(
        f"run_all.py: this Python lacks {', '.join(missing)}: run `make run`, "
        "or `.venv/bin/python run_all.py` once that has made the environment",
        file=sys.stderr,
    )
    sys.exit(2)

from melange.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
