"""Differences, ranks and gap shares from a run's folder; every missing one has a reason."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evidence_run import (
    CANDIDATES,
    NUM_EXAMPLES,
    checkpoint,
    draw,
    entry,
    evidence_of,
    mix,
    samples,
    write,
)
from report_run import Shape, write_run, write_samples

from melange.harness.stats import paired_difference, score_interval
from melange.reports.analysis.evidence import Evidence
from melange.reports.analysis.goals import goal
from melange.reports.analysis.run import load_run

SKILLS = {"large_base": 0.3, "large_mix": 0.8, "small_base": 0.28, "proxy-mix": 0.6}


@pytest.fixture(scope="module")
def two_tasks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evidence, dict[str, Any]]:
    scores = {task: draw(SKILLS, seed) for seed, task in enumerate(("facts", "sums"))}
    return evidence_of(write(tmp_path_factory.mktemp("run"), scores)), scores


def test_a_mean_weighs_tasks_alike_and_counts_examples(two_tasks):
    evidence, scores = two_tasks
    found = evidence.mean("proxy-mix")
    assert found.value == pytest.approx(np.mean([s["proxy-mix"].mean() for s in scores.values()]))
    assert (found.tasks, found.of_tasks, found.examples) == (2, 2, 2 * NUM_EXAMPLES)
    assert found.low < found.value < found.high
    alone = evidence.mean("proxy-mix", [evidence.tasks[0]])
    recorded = score_interval(scores["facts"]["proxy-mix"])
    assert (alone.value, alone.low, alone.high) == pytest.approx(
        (recorded.mean, recorded.low, recorded.high)
    )


def test_ranks_are_groups_of_those_that_cannot_be_told_apart(two_tasks):
    evidence, _ = two_tasks
    assert evidence.leader == "large_mix"
    assert evidence.ranges == {
        "large_mix": (1, 1),
        "proxy-mix": (2, 2),
        "large_base": (3, 4),
        "small_base": (3, 4),
    }
    assert evidence.alike("large_base") == ["small_base"]
    assert evidence.alike("large_mix") == []
    assert evidence.unranked == {}


def test_every_candidate_is_held_against_the_reference_and_the_leader(two_tasks):
    evidence, scores = two_tasks
    found = evidence.against_reference["proxy-mix"]
    gains = [s["proxy-mix"].mean() - s["large_base"].mean() for s in scores.values()]
    assert found.value == pytest.approx(np.mean(gains))
    assert found.verdict == "higher"
    assert found.adjusted_p >= found.p_value
    assert evidence.against_reference["small_base"].verdict == "unclear"
    assert evidence.against_reference["large_base"].reason == "it is the reference"
    assert evidence.against_leader["large_mix"].reason == "it is the leader"
    assert evidence.against_leader["small_base"].verdict == "lower"


def test_paired_intervals_are_narrower_than_those_of_the_means(two_tasks):
    evidence, _ = two_tasks
    found = evidence.contrast("small_base", "large_base")
    apart = [evidence.mean(name) for name in ("small_base", "large_base")]
    unpaired = np.hypot(*((mean.high - mean.low) / 2 for mean in apart))
    assert found.high - found.low < 1.5 * unpaired


def test_the_smallest_effect_tells_what_an_unclear_difference_may_hide(two_tasks):
    evidence, _ = two_tasks
    found = evidence.against_reference["small_base"]
    assert abs(found.value) < found.smallest < 1
    assert found.smallest > evidence.contrast("small_base", "large_base").smallest
    assert 0 < evidence.smallest_effect < 1


def test_a_steered_candidate_closes_a_part_of_the_gap(two_tasks):
    evidence, _ = two_tasks
    gap, kept = evidence.gap_closed("proxy-mix"), evidence.retained("proxy-mix")
    means = {name: evidence.mean(name).value for name in CANDIDATES}
    whole = means["large_mix"] - means["large_base"]
    assert gap.value == pytest.approx((means["proxy-mix"] - means["large_base"]) / whole)
    assert kept.value == pytest.approx(means["proxy-mix"] / means["large_mix"])
    for share in (gap, kept):
        assert share.low < share.value < share.high
    assert evidence.gap_closed("large_base").value is None
    assert "tuned experts steer" in evidence.gap_closed("large_base").reason


def test_on_a_task_the_exact_test_decides(two_tasks):
    evidence, scores = two_tasks
    found = evidence.on_task("proxy-mix", "large_base", "facts")
    exact = paired_difference(scores["facts"]["proxy-mix"], scores["facts"]["large_base"])
    assert (found.value, found.low, found.high, found.p_value) == pytest.approx(
        (exact.difference, exact.low, exact.high, exact.p_value)
    )


def test_clusters_widen_what_is_said(tmp_path):
    """Each fact is asked four times and always answered in the same way."""
    facts = {name: values_N[::4] for name, values_N in draw(SKILLS).items()}
    scores = {"facts": {name: np.repeat(values_G, 4) for name, values_G in facts.items()}}
    blind = evidence_of(write(tmp_path / "blind", scores)).contrast("proxy-mix", "large_base")
    aware = evidence_of(write(tmp_path / "aware", scores, clusters=4))
    found = aware.contrast("proxy-mix", "large_base")
    assert found.value == pytest.approx(blind.value)
    assert found.high - found.low > 1.5 * (blind.high - blind.low)
    assert aware.on_task("proxy-mix", "large_base", "facts").p_value == pytest.approx(
        paired_difference(facts["proxy-mix"], facts["large_base"]).p_value
    )


def test_where_lower_is_better_the_mean_counts_hits(tmp_path):
    scores = {"facts": draw(SKILLS), "slurs": draw({name: 1 - s for name, s in SKILLS.items()}, 1)}
    tasks = [entry("facts"), entry("slurs", higher_is_better=False)]
    evidence = evidence_of(write(tmp_path, scores, tasks=tasks))
    expected = (scores["facts"]["large_mix"].mean() + 1 - scores["slurs"]["large_mix"].mean()) / 2
    assert evidence.mean("large_mix").value == pytest.approx(expected)
    assert evidence.leader == "large_mix"
    raw = evidence.on_task("large_mix", "large_base", "slurs")
    assert raw.value == pytest.approx(
        scores["slurs"]["large_mix"].mean() - scores["slurs"]["large_base"].mean()
    )
    assert raw.verdict == "lower"


def test_a_candidate_that_lacks_a_task_is_compared_on_the_others_and_not_ranked(tmp_path):
    scores = {task: draw(SKILLS, seed) for seed, task in enumerate(("facts", "sums"))}
    del scores["sums"]["proxy-mix"]
    evidence = evidence_of(write(tmp_path, scores))
    assert "proxy-mix" not in evidence.ranges
    assert evidence.unranked["proxy-mix"].endswith("no result on sums")
    found = evidence.against_reference["proxy-mix"]
    facts = scores["facts"]
    assert found.value == pytest.approx(facts["proxy-mix"].mean() - facts["large_base"].mean())
    assert (found.tasks, found.of_tasks, found.note) == (1, 2, "over 1 of 2 tasks")
    assert evidence.against_leader["proxy-mix"].adjusted_p >= found.p_value
    assert not evidence.mean("proxy-mix").complete
    assert evidence.alike("proxy-mix") == []


def samples_are_gone(folder: Path) -> str:
    (folder / "samples/proxy-mix/facts.parquet").unlink()
    return "no samples were kept"


def samples_are_cut(folder: Path) -> str:
    path = folder / "samples/proxy-mix/facts.parquet"
    path.write_bytes(path.read_bytes()[:100])
    return "its samples cannot be read"


def samples_are_of_other_examples(folder: Path) -> str:
    rows = samples(draw(SKILLS)["proxy-mix"], [""] * NUM_EXAMPLES)
    write_samples(folder, "proxy-mix", "facts", [r | {"example": r["example"] + 7} for r in rows])
    return "its samples are of other examples"


@pytest.mark.parametrize("spoil", [samples_are_gone, samples_are_cut,
                                   samples_are_of_other_examples])  # fmt: skip
def test_without_fitting_samples_the_record_stands_unpaired_and_it_is_said(tmp_path, spoil):
    scores = {"facts": draw(SKILLS)}
    paired = evidence_of(write(tmp_path, scores)).contrast("proxy-mix", "large_base")
    reason = spoil(tmp_path)
    evidence = evidence_of(tmp_path)
    found = evidence.contrast("proxy-mix", "large_base")
    assert found.value == pytest.approx(paired.value)
    assert found.high - found.low > paired.high - paired.low
    assert found.note == f"not paired: proxy-mix on facts, {reason}"
    assert reason in evidence.notes[0]
    assert evidence.on_task("proxy-mix", "large_base", "facts").p_value is None
    assert evidence.ranges["proxy-mix"][0] >= 1


def test_a_candidate_whose_samples_tell_another_story_is_not_ranked(tmp_path):
    write(tmp_path, {"facts": draw(SKILLS)})
    wrong = samples(np.zeros(NUM_EXAMPLES), [""] * NUM_EXAMPLES)
    write_samples(tmp_path, "proxy-mix", "facts", wrong)
    evidence = evidence_of(tmp_path)
    assert "proxy-mix" not in evidence.ranges
    assert evidence.contrast("proxy-mix", "large_base").value is None
    assert evidence.leader == "large_mix"


def test_a_run_without_any_samples_is_still_ranked(tmp_path):
    scores = {"facts": draw(SKILLS)}
    folder = write(tmp_path, scores)
    for path in (folder / "samples").rglob("*.parquet"):
        path.unlink()
    evidence = evidence_of(folder)
    assert evidence.ranges["large_mix"][0] == 1
    assert evidence.against_reference["large_mix"].verdict == "higher"
    assert evidence.mean("large_mix").value == pytest.approx(scores["facts"]["large_mix"].mean())


def test_an_empty_run_has_reasons_and_no_numbers(tmp_path):
    evidence = evidence_of(write(tmp_path, {}))
    assert (evidence.leader, evidence.ranges, evidence.smallest_effect) == (None, {}, None)
    assert evidence.mean("large_base") is None
    assert evidence.unranked["large_base"] == "no task counts for a mean"
    for table in (evidence.against_reference, evidence.against_leader):
        assert all(one.value is None and one.reason for one in table.values())
    assert evidence.gap_closed("proxy-mix").reason
    assert evidence.notes == []


def test_a_reference_that_was_not_run_is_a_reason(tmp_path):
    folder = write(tmp_path, {"facts": draw(SKILLS)}, reference="huge_base")
    found = evidence_of(folder).against_reference["large_mix"]
    assert (found.value, found.reason) == (None, "the reference was not run")


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (mix("x", large_base=1, small_mix=0.5, small_base=-0.5), ("large_base", "large_mix")),
        (mix("x", large_base=1, small_a=1, small_b=1, small_base=-2), "2 experts steer it"),
        (mix("x", large_base=1, small_code=1, small_base=-1), "large_code was not run"),
        (mix("x", large_mix=1.5, small_base=-0.5), "only a model that tuned experts steer"),
        (mix("x", large_base=0.5, large_mix=0.5), "only a model that tuned experts steer"),
        (checkpoint("large_mix") | {"name": "x"}, "only a model that tuned experts steer"),
    ],
)
def test_recipes_tell_what_a_candidate_tries_to_be(tmp_path, candidate, expected):
    candidates = [checkpoint("large_base"), checkpoint("large_mix"), candidate]
    found = goal(load_run(write(tmp_path, {}, candidates=candidates)), "x")
    if isinstance(expected, tuple):
        assert (found.base, found.tuned, found.reason) == (*expected, "")
    else:
        assert expected in found.reason


def test_an_adapter_is_an_expert_too(tmp_path):
    candidate = mix("x", large_base=1, small_base=-1)
    candidate["recipe"]["members"].insert(
        1, {"role": "small_base", "adapter": "lora_small_mix", "coefficient": 1.0}
    )
    candidates = [checkpoint("large_base"), checkpoint("large_mix"), candidate]
    found = goal(load_run(write(tmp_path, {}, candidates=candidates)), "x")
    assert (found.base, found.tuned) == ("large_base", "large_mix")


def test_tuning_that_gained_nothing_leaves_no_gap(tmp_path):
    scores = {"facts": draw(SKILLS | {"large_mix": 0.3})}
    found = evidence_of(write(tmp_path, scores)).gap_closed("proxy-mix")
    assert found.reason == "large_mix is not significantly better than large_base"


def test_the_invented_run_of_the_reports_tests_has_evidence(tmp_path):
    evidence = evidence_of(write_run(tmp_path, Shape(candidates=8, tasks=4)))
    assert set(evidence.ranges) | set(evidence.unranked) == set(evidence.run.families)
    for name in evidence.run.families:
        for one in (evidence.against_reference[name], evidence.against_leader[name]):
            assert (one.value is None) == bool(one.reason)
