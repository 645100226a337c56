"""The gate study's resamples differ in noise only, and its planted changes have the stated size."""

import numpy as np
import pytest
from comparison_run import write_pair, write_rounds

from melange.reports.analysis.comparison import Kind, compare
from melange.reports.analysis.run import load_run
from studies import gate as gate_study
from studies.gate import (
    Material,
    draw_pair,
    forget,
    judged_all,
    load_material,
    slowed,
    study,
)


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> Material:
    return load_material([load_run(run) for run in write_pair(tmp_path_factory.mktemp("study"))])


def test_it_draws_from_every_cell_and_candidate_that_can_be_compared(material):
    draw = draw_pair(material, 0.0, np.random.default_rng(0))
    assert len(draw.quality) == len(material.cells) == 30
    assert {one.value for one in draw.quality} == {0.0}
    assert draw.old.throughput_CWR.shape == (len(material.speeds.candidates), 7, 3)


def test_flips_go_both_ways(material):
    draw = draw_pair(material, 0.2, np.random.default_rng(0))
    lost, won = (sum(len(getattr(one, side)) for one in draw.quality) for side in ("lost", "won"))
    share = (lost + won) / sum(len(cell.pairs.old_N) for cell in material.cells)
    assert share == pytest.approx(0.2, abs=0.03)
    assert lost == pytest.approx(won, rel=0.2)


def test_a_planted_drop_has_its_size(material):
    change = forget(material.cells[0], 5, 0.0, np.random.default_rng(0))
    assert change is not None
    assert change.value == pytest.approx(-0.05)
    assert len(change.lost) == 25


def test_a_planted_slow_down_hits_whom_it_should(material):
    draw = draw_pair(material, 0.0, np.random.default_rng(0))
    less_CWR = draw.new.throughput_CWR - slowed(draw.new, 1.15, 3).throughput_CWR
    assert less_CWR[3] == pytest.approx(np.log(1.15))
    assert np.delete(less_CWR, 3, axis=0) == pytest.approx(0)


def test_drawn_candidates_lie_as_far_apart_as_those_of_the_real_runs(tmp_path):
    def spread(changes):
        return np.std([np.log(one.value) for one in changes if one.kind is Kind.SPEED])

    folders = write_pair(tmp_path)
    for seed, folder in enumerate(folders):
        write_rounds(folder, seed=seed, rounds=24)  # enough to estimate the machine's drift
    real = [load_run(one) for one in folders]
    material, rng = load_material(real), np.random.default_rng(0)
    drawn = [draw_pair(material, 0.0, rng) for _ in range(60)]
    spreads = [spread(judged_all([], one.old, one.new, material.speeds)) for one in drawn]
    size = np.sqrt(np.mean(np.square(spreads)))
    assert size == pytest.approx(spread(compare(*real).changes), rel=0.15)


def test_the_same_seed_gives_the_same_figures(material):
    once, again = (study(material, 2, 0.02, seed=1) for _ in range(2))
    assert [one.row for one in once] == [one.row for one in again]


def test_quiet_runs_raise_no_alarm_and_a_large_change_does(material):
    counts = {one.what: one for one in study(material, 5, 0.0, seed=0)}
    assert counts["nothing: a false alarm"].caught == 0
    assert counts["nothing: quiet enough to judge speeds"].caught == 5
    assert counts["all candidates take 25% longer"].caught == 5
    assert counts["one candidate loses 10 points on one task of 500 examples"].caught == 5


def test_the_figures_take_their_place_on_the_page(material, tmp_path, monkeypatch):
    page = tmp_path / "gate.md"
    page.write_text(f"before\n{gate_study.BEGIN}\nold\n{gate_study.END}\nafter\n")
    monkeypatch.setattr(gate_study, "PAGE", page)
    gate_study.write("| new |")
    expected = f"before\n{gate_study.BEGIN}\n| new |\n{gate_study.END}\nafter\n"
    assert page.read_text() == expected


def test_the_kinds_that_it_counts_are_the_gates(material):
    draw = draw_pair(material, 0.0, np.random.default_rng(0))
    found = gate_study.verdicts(draw.quality, draw.old, slowed(draw.new, 2.0), material.speeds)
    assert {one.kind for one in found} == {Kind.ENGINE}
