"""Writes each candidate's scores in lm-eval's format of results, for tools that read it.

Schema: `EvalResults` of lm-eval 0.4.13 (lm_eval/result_schema.py). A task without a result is left
out, as lm-eval itself would.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from melange.harness.errors import HarnessError
from melange.harness.records import Measurement, Task
from melange.reports.analysis.run import Run
from melange.reports.analysis.score_tables import ReadScores

UNKNOWN_FILTER = "none"


def lm_eval_files(
    run: Run, slugs: Mapping[str, str], read: ReadScores
) -> Iterator[tuple[str, str]]:
    """Paths below the report's folder, with contents; candidates without a score have no file."""
    for candidate, slug in slugs.items():
        results = lm_eval_results(run, candidate, read)
        if results["results"]:
            yield f"data/lm-eval/{slug}.json", json.dumps(results, indent=2, ensure_ascii=False)


def lm_eval_results(run: Run, candidate: str, read: ReadScores) -> dict[str, Any]:
    lines = [m for m in run.by_candidate[candidate] if m.task in run.tasks and not m.workload]
    scored = dict.fromkeys(m.task for m in lines if m.task and m.value is not None)
    tasks = {name: run.tasks[name] for name in scored}
    manifest = run.manifest
    versions = manifest.versions
    return {
        "results": {name: _results(run, lines, name, read) for name in tasks},
        "group_subtasks": {name: [] for name in tasks},
        "configs": {name: _config(name, task) for name, task in tasks.items()},
        # Task versions are not recorded: the suite's revision pins them.
        "versions": dict.fromkeys(tasks, manifest.git_revision),
        "n-shot": {name: (task.num_fewshot or 0) if task else 0 for name, task in tasks.items()},
        "higher_is_better": {name: _directions(lines, name) for name in tasks},
        "n-samples": {name: _counts(lines, name) for name in tasks},
        "config": {
            "model": "melange",
            "model_args": {"candidate": candidate, "family": run.families[candidate]},
            "device": manifest.device,
            "limit": manifest.limit,
            "random_seed": manifest.seed,
        },
        "git_hash": manifest.git_revision,
        "lm_eval_version": versions.get("lm-eval"),
        "transformers_version": versions.get("transformers"),
        "model_name": candidate,
    }


def _results(run: Run, lines: list[Measurement], task: str, read: ReadScores) -> dict[str, Any]:
    """`metric,filter` -> value and `metric_stderr,filter` -> standard error or "N/A"."""
    found: dict[str, Any] = {"alias": task}
    for line in lines:
        if line.task == task and line.value is not None:
            metric, _, other = line.metric.partition(",")
            name = other or _filter(run.tasks[task])
            found[f"{metric},{name}"] = line.value
            found[f"{metric}_stderr,{name}"] = _standard_error(run, line, read)
    return found


def _filter(task: Task | None) -> str:
    return task.filter if task else UNKNOWN_FILTER


def _standard_error(run: Run, line: Measurement, read: ReadScores) -> float | str:
    """As in lm-eval: the standard deviation of the primary metric's samples over sqrt(n)."""
    assert line.task is not None
    if line.metric != run.primary_metric(line.task):
        return "N/A"
    try:
        scores = read(line.candidate, line.task)
    except HarnessError:
        # The task's page of samples says why its samples cannot be read.
        return "N/A"
    if scores is None or len(scores.values_N) < 2:
        return "N/A"
    return float(scores.values_N.std(ddof=1)) / math.sqrt(len(scores.values_N))


def _directions(lines: list[Measurement], task: str) -> dict[str, bool | None]:
    return {
        line.metric.partition(",")[0]: line.higher_is_better
        for line in lines
        if line.task == task and line.value is not None
    }


def _counts(lines: list[Measurement], task: str) -> dict[str, int | None]:
    most = max((line.n or 0 for line in lines if line.task == task), default=0)
    return {"original": most or None, "effective": most or None}


def _config(name: str, task: Task | None) -> dict[str, Any]:
    if task is None:
        return {"task": name}
    return {
        "task": name,
        "output_type": task.output_type,
        "num_fewshot": task.num_fewshot,
        "metadata": {"lm_eval": task.lm_eval, "source": task.source},
    }
