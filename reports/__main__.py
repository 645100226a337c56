"""Renders a run's report in a separate process: `python -m melange.reports runs/mine`."""

import sys
from pathlib import Path

from melange.harness.errors import HarnessError
from melange.reports.render import render

USER_MISTAKE = 2

if __name__ == "__main__":
    try:
        print(render(Path(sys.argv[1])))
    except HarnessError as error:
        print(f"reports: {error}", file=sys.stderr)
        sys.exit(USER_MISTAKE)
