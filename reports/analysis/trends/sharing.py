"""How much wider a mean over tasks is because tasks ask about the same facts.

Nights are read without their samples. The newest one that kept some tells for all: a series has the
same tasks, and so the same facts.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from melange.harness.errors import HarnessError
from melange.harness.records import Task
from melange.harness.runs.history import Night
from melange.harness.runs.layout import SAMPLES
from melange.harness.stats import Means, combine
from melange.reports.analysis.run import Run, load_run
from melange.reports.analysis.score_tables import score_table


def widening(nights: Sequence[Night], split: str) -> Mapping[str, float]:
    """Candidate -> ratio of the mean's standard error to that over independent tasks.

    Empty where no night kept samples; then tasks are taken to be independent.
    """
    for night in reversed(nights):
        if not (night.folder / SAMPLES).is_dir():
            continue
        try:
            run = load_run(night.folder)
            found = _widening(
                run, [one for one in run.tasks.values() if one and one.split == split]
            )
        except HarnessError:
            continue  # an earlier night may be readable
        if found:
            return found
    return {}


def _widening(run: Run, tasks: Sequence[Task]) -> dict[str, float]:
    kept = [one for one in tasks if any(run.samples_path(name, one.name) for name in run.families)]
    if len(kept) < 2:
        return {}
    means = [score_table(run, one, run.scores).means for one in kept]
    errors_K = _errors(combine(means))
    apart_K = np.sqrt(sum(_errors(one) ** 2 for one in means)) / len(means)
    known_K = apart_K > 0
    ratios_K = np.where(known_K, errors_K / np.where(known_K, apart_K, 1.0), 1.0)
    return dict(zip(run.families, ratios_K.tolist(), strict=True))


def _errors(means: Means) -> np.ndarray:
    return np.sqrt(np.nan_to_num(np.diag(means.covariance_KK)))
