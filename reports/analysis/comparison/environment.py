"""Lists what else differs between two runs. It is reported, and prevents no comparison."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from melange.harness.runs.manifest import Manifest
from melange.reports.analysis.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    what: str
    old: str
    new: str


def differences(old: Run, new: Run) -> list[Difference]:
    before, now = (dict(_facts(run.manifest)) for run in (old, new))
    return [
        Difference(what=what, old=before.get(what, ABSENT), new=now.get(what, ABSENT))
        for what in {**now, **before}
        if before.get(what, ABSENT) != now.get(what, ABSENT)
    ]


ABSENT = "not recorded"


def _facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "git revision", _said(manifest.git_revision)
    yield "command", _said(manifest.command)
    yield "zoo", _said(manifest.zoo.get("name"))
    yield "device", _said(manifest.device)
    yield "engine options", ", ".join(f"{k}={v}" for k, v in manifest.engine.items()) or "none"
    yield "seed", _said(manifest.seed)
    yield "examples per task", "all" if manifest.limit is None else f"at most {manifest.limit}"
    if manifest.suite:
        yield "rounds per workload", _said(manifest.suite.rounds)
        yield "reference candidate", manifest.suite.reference
    yield from (("version of " + name, _said(value)) for name, value in manifest.versions.items())
    for name, value in manifest.hardware.items():
        yield name.replace("_", " "), _said(value)


def _said(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return ABSENT if value is None or value == "" else str(value)
