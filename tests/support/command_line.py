"""`run_all.py` in this process, without a new one's import time."""

import subprocess
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import run_all


def run_here(*arguments: object) -> subprocess.CompletedProcess[str]:
    """For commands that neither measure nor start a process: plans, reports, errors."""
    given, said, complained = [str(one) for one in arguments], StringIO(), StringIO()
    with redirect_stdout(said), redirect_stderr(complained):
        try:
            code = run_all.main(given)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    return subprocess.CompletedProcess(given, code, said.getvalue(), complained.getvalue())
