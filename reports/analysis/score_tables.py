"""Tables of all candidates' scores on a task by example, where higher is better.

If a cell has a recorded mean without samples that match it, the mean is used with its recorded
interval, as if the candidate had been scored on other examples.

Shape letters: K candidates of the run, N examples.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from melange.harness.errors import HarnessError
from melange.harness.racing.batches import cluster_names
from melange.harness.records import Task
from melange.harness.stats import (
    Interval,
    Means,
    TaskScores,
    combine,
    task_means,
    wilson_interval,
)
from melange.reports.analysis.aggregate import best_possible, oriented
from melange.reports.analysis.example_scores import Scores
from melange.reports.analysis.run import Reading, Run

ReadScores = Callable[[str, str], Scores | None]
TOLERANCE = 1e-6
"""Allowed distance of the samples' mean from the record, for values above 1 relative to it: samples
are stored as float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable:
    """All candidates' scores on one task."""

    means: Means
    """Of all K candidates; NaN for those without a result."""
    paired: Mapping[str, np.ndarray]
    """Candidate -> its scores, shape [N], of those that saw the same examples."""
    clusters_N: np.ndarray | None
    """Each example's cluster as a number; None if no samples were stored."""
    unpaired: Mapping[str, str]
    """Candidates with a result that cannot be paired, with the reason."""
    readings: Mapping[str, Reading]
    """Recorded results, higher is better; only those with a value."""


@dataclass(frozen=True, slots=True)
class ScoreTables:
    """Of all tasks of a run, each read once."""

    run: Run
    read: ReadScores
    _tables: dict[str, ScoreTable] = field(default_factory=dict)
    _combined: dict[tuple[str, ...], Means] = field(default_factory=dict)

    def table(self, name: str) -> ScoreTable:
        if name not in self._tables:
            task = self.run.tasks[name]
            assert task is not None, "the manifest describes it"
            self._tables[name] = score_table(self.run, task, self.read)
        return self._tables[name]

    def over(self, tasks: Sequence[str]) -> Means:
        """The mean over these tasks, of all candidates; NaN for those that lack one."""
        key = tuple(tasks)
        if key not in self._combined:
            self._combined[key] = combine([self.table(name).means for name in key])
        return self._combined[key]


def score_table(run: Run, task: Task, read: ReadScores) -> ScoreTable:
    recorded = {name: oriented(run.quality(name, task.name), task) for name in run.families}
    readings = {name: one for name, one in recorded.items() if one.value is not None}
    found, unpaired = _fitting(readings, run.stopped, task, read)
    common = _most_common(found)
    for name, scores in found.items():
        if not _same_examples(scores, common):
            unpaired[name] = "its samples are of other examples"
    paired = {name: found[name].values_N for name in found if name not in unpaired}
    names_G, clusters_N = _clusters(common, task) if common else (None, None)
    return ScoreTable(
        means=_means(list(run.families), readings, paired, clusters_N, names_G),
        paired=paired,
        clusters_N=clusters_N,
        unpaired=unpaired,
        readings=readings,
    )


def _fitting(
    readings: Mapping[str, Reading], stopped: Collection[str], task: Task, read: ReadScores
) -> tuple[dict[str, Scores], dict[str, str]]:
    """Samples that match the recorded result, and why others cannot be used."""
    found: dict[str, Scores] = {}
    unpaired: dict[str, str] = {}
    for name, reading in readings.items():
        if name in stopped:
            unpaired[name] = "a race stopped it"
            continue
        scores = _scores(name, task, reading, read)
        if isinstance(scores, str):
            unpaired[name] = scores
        else:
            found[name] = scores
    return found, unpaired


def _scores(name: str, task: Task, reading: Reading, read: ReadScores) -> Scores | str:
    """Scores where higher is better, or why there are none."""
    try:
        scores = read(name, task.name)
    except HarnessError:
        return "its samples cannot be read"
    if scores is None:
        return "no samples were kept"
    values_N = scores.values_N if task.higher_is_better else best_possible(task) - scores.values_N
    same_number = len(values_N) == reading.n if reading.n else len(values_N) > 0
    allowed = TOLERANCE * max(1.0, abs(reading.known))
    if not same_number or not abs(float(values_N.mean()) - reading.known) <= allowed:
        return "its samples do not give the recorded score"
    return replace(scores, values_N=values_N)


def _most_common(found: Mapping[str, Scores]) -> Scores | None:
    """Samples over the set of examples that most candidates share."""
    if not found:
        return None
    seen = {name: scores.examples_N.tobytes() for name, scores in found.items()}
    often = Counter(seen.values()).most_common(1)[0][0]
    return next(found[name] for name, examples in seen.items() if examples == often)


def _clusters(scores: Scores, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Each cluster's name, and each example's cluster number.

    Tasks that cluster by the same column ask about the same things under the same names; examples
    in a cluster of their own have no name.
    """
    own_G, clusters_N = np.unique(scores.clusters_N, return_inverse=True)
    names = cluster_names(task, ["" if name.startswith("\0") else name for name in own_G])
    return np.array(names, dtype=object), clusters_N


def _same_examples(scores: Scores, common: Scores | None) -> bool:
    return common is not None and np.array_equal(scores.examples_N, common.examples_N)


def _means(
    names: Sequence[str],
    readings: Mapping[str, Reading],
    paired: Mapping[str, np.ndarray],
    clusters_N: np.ndarray | None,
    names_G: np.ndarray | None,
) -> Means:
    places = {name: k for k, name in enumerate(names)}
    alone = [name for name in readings if name not in paired]
    size = max((readings[name].n or 1 for name in alone), default=1)
    scores_KN = np.stack(list(paired.values())) if paired else np.zeros((0, size))
    known = task_means(TaskScores(scores_KN=scores_KN, clusters_N=clusters_N, names_G=names_G))
    means = known.spread([places[name] for name in paired], len(names))
    for name in alone:
        means = means.with_unrelated(places[name], _interval(readings[name]))
    return means


def _interval(reading: Reading) -> Interval:
    """The recorded interval, else that of a share."""
    n = reading.n or 1
    low, high = reading.bounds if reading.has_interval else wilson_interval(reading.known, n)
    return Interval(mean=reading.known, low=low, high=high, n=n)
