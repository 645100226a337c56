"""Runs of earlier versions show what they have: the peak of a process, and the build alone."""

import json
from pathlib import Path

from report_run import Shape, write_lines, write_run

from melange.reports.render import render


def lines_of(run: Path) -> list[dict[str, object]]:
    text = (run / "measurements.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_that_measured_peaks_and_builds_alone_shows_those(tmp_path: Path) -> None:
    small = write_run(tmp_path / "run", Shape(candidates=3, tasks=2, examples=4))
    new = ("needed_memory_bytes", "kv_load_bytes", "peak_activation_bytes", "beyond_base_sec")
    assert "Peak memory" not in render(small).read_text()
    write_lines(small, [x for x in lines_of(small) if x["metric"] not in new])
    index = render(small)
    for label in ("Peak memory", "Build", "Accuracy against peak memory"):
        assert label in index.read_text()
    assert "Memory needed" not in index.read_text()
    assert "Memory while serving" in index.with_name("memory.html").read_text()
