"""The gate study's resamples differ in noise only, and its planted changes have the stated size."""

from pathlib import Path

import numpy as np
import pytest
from comparison_run import write_pair, write_rounds

from melange.reports.analysis.comparison import Kind, Verdict, compare
from melange.reports.analysis.comparison.timings import SPEED
from melange.reports.analysis.run import load_run
from studies import gate as gate_study
from studies.aa_runs import SUITE, folders, is_finished
from studies.gate import exact_interval, real_table, study
from studies.planted_changes import forgotten, judged_all, regressions, slow_down, slowed
from studies.real_pairs import RealPair, load_pair, run_folders
from studies.resampled_runs import draw_pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> RealPair:
    return load_pair(*(load_run(run) for run in write_pair(tmp_path_factory.mktemp("study"))))


def test_it_draws_from_every_cell_and_candidate_that_can_be_compared(pair):
    draw = draw_pair([pair], 0.0, np.random.default_rng(0))
    assert len(draw.quality) == len(pair.cells) == 32
    assert {one.value for one in draw.quality} == {0.0}
    assert draw.old[SPEED.name].throughput_CWR.shape == (len(pair.axes.units), 7, 3)


def test_flips_go_both_ways(pair):
    draw = draw_pair([pair], 0.2, np.random.default_rng(0))
    lost, won = (sum(len(getattr(one, side)) for one in draw.quality) for side in ("lost", "won"))
    share = (lost + won) / sum(len(cell.pairs.old_N) for cell in pair.cells)
    assert share == pytest.approx(0.2, abs=0.03)
    assert lost == pytest.approx(won, rel=0.2)


def test_a_planted_drop_has_its_size(pair):
    rng = np.random.default_rng(0)
    change = forgotten(pair.cells[0], 5, rng.integers(60, size=500), 0.0, rng)
    assert change is not None
    assert change.value == pytest.approx(-0.05)
    assert len(change.lost) == 25


def test_a_planted_slow_down_hits_whom_it_should(pair):
    draw = draw_pair([pair], 0.0, np.random.default_rng(0))
    before, after = (
        run[SPEED.name].throughput_CWR for run in (draw.new, slowed(draw.new, 1.15, [3]))
    )
    less_CWR = before - after
    assert less_CWR[3] == pytest.approx(np.log(1.15))
    assert np.delete(less_CWR, 3, axis=0) == pytest.approx(0)


def test_drawn_candidates_lie_as_far_apart_as_those_of_the_real_runs(tmp_path):
    def spread(changes):
        return np.std([np.log(one.value) for one in changes if one.kind is Kind.SPEED])

    both = write_pair(tmp_path)
    for seed, folder in enumerate(both):
        write_rounds(folder, seed=seed, rounds=24)  # enough to estimate the machine's drift
    real = [load_run(one) for one in both]
    pairs, rng = [load_pair(*real)], np.random.default_rng(0)
    drawn = [judged_all(draw_pair(pairs, 0.0, rng)) for _ in range(40)]
    size = np.sqrt(np.mean(np.square([spread(one) for one in drawn])))
    assert size == pytest.approx(spread(compare(*real).changes), rel=0.15)


def test_the_same_seed_gives_the_same_figures(pair):
    once, again = (study([pair], 1, 0.02, seed=1) for _ in range(2))
    assert [one.row for one in once] == [one.row for one in again]


def test_quiet_runs_raise_no_alarm_and_a_large_change_does(pair):
    counts = {one.what: one for one in study([pair], 2, 0.0, seed=0)}
    assert counts["nothing: a false alarm"].caught == 0
    assert counts["nothing: quiet enough to judge speeds"].caught == 2
    assert counts["all candidates take 25% longer"].caught == 2
    assert counts["one candidate loses 10 points on one task of 500 examples"].caught == 2
    assert counts["one candidate: TTFT is twice as long"].caught == 2


def test_pairs_of_real_runs_are_counted_as_pairs(pair):
    text = real_table([pair, pair])
    assert text.startswith(
        "0 of 2 real pairs raised a false alarm: 0%, 95 % interval 0.0% to 84.2%"
    )
    assert "| old | new |" in text
    assert exact_interval(1, 10) == pytest.approx((0.0025, 0.4450), abs=1e-4)


def test_a_folder_stands_for_its_runs_in_order(tmp_path):
    for name in ("01-a", "00-b", "00-a", "01-b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
    expected = [tmp_path / name for name in ("00-a", "00-b", "01-a", "01-b")]
    assert run_folders([tmp_path]) == expected == list(folders(tmp_path, 2))
    assert run_folders([expected[2]]) == [expected[2]]
    assert not is_finished(expected[0])
    assert SUITE.is_file()


def test_the_figures_take_their_place_on_the_page(tmp_path: Path, monkeypatch):
    page = tmp_path / "gate.md"
    page.write_text(f"before\n{gate_study.BEGIN}\nold\n{gate_study.END}\nafter\n")
    monkeypatch.setattr(gate_study, "PAGE", page)
    gate_study.write("| new |")
    expected = f"before\n{gate_study.BEGIN}\n| new |\n{gate_study.END}\nafter\n"
    assert page.read_text() == expected


def test_slow_candidates_are_not_caught_where_others_are_named(pair):
    draw = draw_pair([pair], 0.0, np.random.default_rng(0))
    assert not slow_down(1.0, 0.0)(draw, np.random.default_rng(0), 0.0)
    named = regressions(draw)
    assert {one.verdict for one in named} <= {Verdict.WORSE}
    assert slow_down(2.0, None)(draw, np.random.default_rng(0), 0.0)
