"""Summarizes a run on one screen in Markdown: report/summary.md, for a CI job's page."""

from collections.abc import Iterator

from melange.harness.records import Outcome
from melange.reports.analysis.aggregate import Mean
from melange.reports.analysis.board import Standing
from melange.reports.analysis.progress import Progress
from melange.reports.analysis.racing import race_sentence
from melange.reports.analysis.run import Reading, Run
from melange.reports.metrics import describe
from melange.reports.page import Column, Table
from melange.reports.tables.comparison_markdown import comparison_markdown
from melange.reports.tables.files import markdown_text, to_markdown
from melange.reports.units import PERCENT, RATIO, Scale, grouped, plural, scale_for, unit_kind
from melange.reports.view import RunView

TOP = 10
"""Number of candidates in the leaderboard."""
FAILURES = 20
"""Number of failures that are named; the others are counted."""
TRIMMED = 160
"""Longest reason of a failure, in characters: a traceback would fill the page."""


def summary(view: RunView) -> str:
    """Text from a run or a model is escaped."""
    parts = [
        f"## {markdown_text(view.title)}",
        _about(view),
        _progress(view.progress),
        comparison_markdown(view.comparison).strip() if view.comparison else "",
        _leaderboard(view),
        _failures(view.run),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(view: RunView) -> str:
    manifest = view.run.manifest
    told = [
        f"suite {manifest.suite.name}" if manifest.suite else "",
        f"zoo {manifest.zoo['name']}" if "name" in manifest.zoo else "",
        manifest.device,
        plural(len(view.run.families), "candidate"),
        plural(len(view.run.tasks), "task"),
        f"at most {grouped(manifest.limit)} examples a task" if manifest.limit else "",
        f"revision {manifest.git_revision}" if manifest.git_revision else "",
    ]
    return markdown_text(" · ".join(part for part in told if part))


def _progress(progress: Progress) -> str:
    if not progress.sentence:
        return ""
    families = markdown_text(progress.by_family)
    there = f" Through with their tasks: {families}." if families else ""
    return f"**{progress.sentence}**{there}"


def _leaderboard(view: RunView) -> str:
    """Mean accuracy, speed relative to the reference on the first workload, and memory."""
    run = view.run
    workload = next(iter(run.batches), None)
    metric = run.headline("memory")
    found = [run.read(name, metric).value for name in run.families]
    memory = scale_for(unit_kind(metric, "bytes"), found)
    speed = f"Speed on {workload}, × reference" if workload else "Speed"

    def relative_speed(row: Standing) -> str:
        found = run.read(row.candidate, "relative_throughput", workload=workload)
        return _number(found, RATIO)

    columns = [
        Column("Rank", _rank),
        Column("Candidate", lambda row: row.candidate),
        Column("Family", lambda row: row.family),
        Column("Mean accuracy, % (95 %)", lambda row: _accuracy(run, row)),
        Column("n", lambda row: grouped(row.mean.examples) if row.mean else None),
        Column(speed, relative_speed),
        Column(f"{describe(metric).label}, {memory.label}",
               lambda row: _number(run.read(row.candidate, metric), memory)),
    ]  # fmt: skip
    table = to_markdown(Table(columns, view.standings[:TOP]))
    left_out = len(view.standings) - TOP
    more = f"\n{plural(left_out, 'further candidate')} in the report." if left_out > 0 else ""
    race = race_sentence(run)
    told = f"\n\n{markdown_text(race)}" if race else ""
    return f"### Leaderboard\n\n{table}{more}".rstrip("\n") + told


def _rank(row: Standing) -> int | str | None:
    return f"stopped at {PERCENT.write(row.stop.share)} %" if row.stop else row.rank


def _accuracy(run: Run, row: Standing) -> str:
    return "pending" if run.is_pending(row.candidate) else _mean(row.mean)


def _mean(mean: Mean | None) -> str:
    if mean is None:
        return "no result"
    text = f"{PERCENT.write(mean.value)} ({PERCENT.write(mean.low)}–{PERCENT.write(mean.high)})"
    return text if mean.complete else f"{text}, {mean.tasks} of {mean.of_tasks} tasks"


def _number(reading: Reading, scale: Scale) -> str:
    if reading.value is None:
        if reading.outcome == "unknown":
            return f"not known yet (n {reading.n})"
        return {"absent": "not run"}.get(reading.outcome, reading.outcome)
    if not reading.has_interval:
        return scale.write(reading.value)
    return f"{scale.write(reading.value)} ({scale.write(reading.low)}–{scale.write(reading.high)})"


def _failures(run: Run) -> str:
    failed = list(_failed(run))
    if not failed:
        return ""
    lines = [f"- {markdown_text(line)}" for line in failed[:FAILURES]]
    left_out = len(failed) - len(lines)
    if left_out:
        lines.append(f"- {left_out} more in the report")
    return f"### {plural(len(failed), 'failed cell')}\n\n" + "\n".join(lines)


def _failed(run: Run) -> Iterator[str]:
    for one in run.measurements:
        if one.outcome in (Outcome.FAILED, Outcome.DISPUTED):
            disputed = "disputed: " if one.outcome is Outcome.DISPUTED else ""
            cell = one.task or one.workload or one.metric
            yield f"{one.candidate}, {cell}: {_trim(disputed + one.reason)}"


def _trim(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= TRIMMED else words[: TRIMMED - 1] + "…"
