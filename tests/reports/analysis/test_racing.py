"""What a race stopped stands last, with the evidence, and is compared with nobody."""

import json

import pytest
from evidence_run import draw, evidence_of, record, samples, write
from report_run import write_samples

from melange.harness.stats import adjusted_pairs
from melange.reports.analysis.board import scope_of_means, standings
from melange.reports.analysis.evidence import Evidence
from melange.reports.analysis.racing import race_sentence
from melange.reports.summary import summary
from melange.reports.view import RunView

SKILLS = {"large_base": 0.5, "large_mix": 0.9, "small_base": 0.1, "proxy-mix": 0.8}
ASKED = 16
STOP = {"top": 1, "share": 0.2, "examples": ASKED, "log10_e_value": 4.25,
        "log10_needed": 1.9, "behind": ["large_mix"]}  # fmt: skip


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """`small_base`, the worst, and the reference `large_base` were stopped."""
    scores = draw(SKILLS)
    folder = write(tmp_path_factory.mktemp("run"), {"facts": scores})
    lines = [json.loads(line) for line in (folder / "measurements.jsonl").open()]
    for at, name in enumerate(one["candidate"] for one in lines):
        if name in ("small_base", "large_base"):
            some_N = scores[name][:ASKED]
            share = 0.4 if name == "large_base" else 0.2
            lines[at] |= record(name, "facts", some_N) | {"stop": STOP | {"share": share}}
            write_samples(folder, name, "facts", samples(some_N, [""] * ASKED))
    (folder / "measurements.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return evidence_of(folder)


def test_only_those_left_have_ranks(evidence: Evidence) -> None:
    assert evidence.ranked == ["large_mix", "proxy-mix"]
    assert evidence.unranked["small_base"] == (
        "stopped by the race after 16 examples: behind large_mix (e-value 10^4.2, 10^1.9 were "
        "needed)"
    )


def test_the_stopped_stand_last_the_longest_lasting_first(evidence: Evidence) -> None:
    rows = standings(evidence.run.families, scope_of_means(evidence.run), evidence)
    assert [row.candidate for row in rows] == ["large_mix", "proxy-mix", "large_base", "small_base"]
    assert [row.stop is not None for row in rows] == [False, False, True, True]
    assert rows[3].mean is not None
    assert rows[3].mean.examples == ASKED


def test_the_stopped_are_compared_with_nobody(evidence: Evidence) -> None:
    for found in (
        evidence.contrast("small_base", "large_mix"),
        evidence.on_task("large_mix", "small_base", "facts"),
        evidence.against_leader["small_base"],
        evidence.against_reference["large_mix"],
    ):
        assert found.value is None
        assert "stopped by the race" in found.reason
    assert evidence.gap_closed("proxy-mix").value is None
    assert evidence.notes == []


def test_pairs_of_the_stopped_are_corrected_for(evidence: Evidence) -> None:
    """One pair is left of six."""
    alone = evidence.contrast("proxy-mix", "large_mix").p_value
    assert alone is not None
    assert evidence.against_leader["proxy-mix"].adjusted_p == pytest.approx(min(1, 6 * alone))
    assert adjusted_pairs(evidence._field)[0, 1] == pytest.approx(alone)


def test_the_summary_tells_of_the_race(evidence: Evidence) -> None:
    text = summary(RunView(evidence.run))
    assert "| stopped at 20.0 % |" in text
    assert "A race stopped 2 of 4 candidates" in race_sentence(evidence.run)
    assert "65% of all examples were asked" in text
