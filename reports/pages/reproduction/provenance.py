"""How the run was made: versions, hardware, checkpoints, timings."""

from collections import defaultdict
from typing import Any

from melange.harness.runs.manifest import Manifest
from melange.reports.analysis.run import Run
from melange.reports.page import Block, Section
from melange.reports.tables.engine import computing
from melange.reports.units import duration, scale_for
from melange.reports.view import RunView


def block(view: RunView, subject: str) -> Block:
    manifest = view.run.manifest
    return Block(
        data={
            "facts": _facts(view),
            "fact_tables": [table for table in _tables(manifest) if table["rows"]],
            "workloads": manifest.workloads,
        }
    )


def _facts(view: RunView) -> list[tuple[str, str]]:
    manifest = view.run.manifest
    suite = manifest.suite
    facts = [
        ("Suite", suite.name if suite else ""),
        ("Zoo", str(manifest.zoo.get("name", ""))),
        ("Scale", str(manifest.zoo.get("scale", ""))),
        ("Device", manifest.device),
        ("Seed", "" if manifest.seed is None else str(manifest.seed)),
        ("Examples per task", "all" if manifest.limit is None else f"at most {manifest.limit}"),
        ("Rounds per workload", str(suite.rounds) if suite else ""),
        ("Reference candidate", getattr(suite, "reference", "")),
        ("Started", _time(manifest.started)),
        ("Finished", _finished(view.run)),
        ("Git revision", manifest.git_revision or "not recorded"),
    ]
    return [(name, value) for name, value in facts if value]


def _finished(run: Run) -> str:
    """Older versions wrote this time at the start of a run."""
    known = _time(run.manifest.finished) if not run.waiting else ""
    return known or "not finished when this page was made"


def _time(iso: str | None) -> str:
    return (iso or "").replace("T", " ").partition(".")[0]


def _tables(manifest: Manifest) -> list[dict[str, Any]]:
    fingerprints = manifest.zoo.get("fingerprints") or {}
    return [
        {"title": "Versions", "rows": _rows(manifest.versions), "mono": False},
        {"title": "Hardware", "rows": _rows(manifest.hardware), "mono": False},
        {"title": "Engines", "rows": _engines(manifest), "mono": False},
        {"title": "What the zoo has no roles for", "rows": _notes(manifest), "mono": False},
        {"title": "Timings", "rows": _timings(manifest.timings), "mono": False},
        {
            "title": "Checkpoints of the zoo",
            "rows": [(role, str(value)) for role, value in fingerprints.items()],
            "mono": True,
        },
    ]


def _notes(manifest: Manifest) -> list[tuple[str, str]]:
    """Family, or role, and why."""
    return [(name, why.strip()) for name, _, why in (one.partition(":") for one in manifest.notes)]


def _engines(manifest: Manifest) -> list[tuple[str, str]]:
    """Engine settings -> their candidates; the most common ones have `all others`, or `all`."""
    found: dict[str, list[str]] = defaultdict(list)
    for candidate, settings in manifest.engines.items():
        found[computing(settings)].append(candidate)
    ways = sorted(found, key=lambda way: -len(found[way]))
    rest = "all candidates" if len(ways) == 1 else "all others"
    return [(way, rest if way == ways[0] else ", ".join(found[way])) for way in ways]


def _rows(entries: dict[str, Any]) -> list[tuple[str, str]]:
    """Nested entries are named by their path; unknown values are marked as such."""
    rows: list[tuple[str, str]] = []
    for name, value in entries.items():
        if isinstance(value, dict):
            rows += [(f"{name} {inner}", text) for inner, text in _rows(value)]
        else:
            rows.append(_entry(name, value))
    return rows


def _entry(name: str, value: Any) -> tuple[str, str]:
    if value is None or value == "":
        return (_spoken(name), "not recorded")
    if name.endswith("_bytes") and isinstance(value, int | float):
        scale = scale_for("bytes", [value])
        return (_spoken(name.removesuffix("_bytes")), f"{scale.write(value)} {scale.label}")
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return (_spoken(name), text)


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _timings(timings: dict[str, Any]) -> list[tuple[str, str]]:
    """Entries are seconds; the longest come first."""
    flat = {name: value for name, value in timings.items() if isinstance(value, int | float)}
    rest = {name: value for name, value in timings.items() if name not in flat}
    longest = sorted(flat.items(), key=lambda item: -item[1])
    return [
        (_spoken(name.removesuffix("_sec")), duration(value)) for name, value in longest
    ] + _rows(rest)


SECTION = Section("How it was run", "sections/provenance.html", block)
