"""Candidates that form a curve, and the data of its chart."""

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_run import Shape, write_lines, write_run

from melange.harness.recipes.logit_mix import LogitMix, Member
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate
from melange.harness.runs.manifest import Manifest
from melange.reports.analysis.run import Run, load_run
from melange.reports.analysis.sweeps import sweeps, trajectories
from melange.reports.pages.latency.load import load_ladders
from melange.reports.render import render

alphas = st.lists(st.floats(0.1, 4).map(lambda x: round(x, 3)), min_size=2, max_size=6, unique=True)


def run_of(*candidates: Candidate, tmp_path=None) -> Run:
    manifest = Manifest(schema_version=1, candidates=candidates)
    return Run(folder=tmp_path, manifest=manifest, measurements=())


def proxy(alpha: float, expert: str = "small_mix") -> Candidate:
    members = (
        Member(role="large_base", coefficient=1.0),
        Member(role=expert, coefficient=alpha),
        Member(role="small_base", coefficient=-alpha),
    )
    recipe = LogitMix(method="proxy", members=members)
    return Candidate(name=f"{expert}-{alpha}", family="proxy", recipe=recipe)


def weights(name: str, method: str, inputs: tuple[str, ...], **options) -> Candidate:
    recipe = Weights(method=method, inputs=inputs, options=options)
    return Candidate(name=name, family="averaging", recipe=recipe)


@given(alphas)
def test_a_sweep_is_ordered_by_alpha_and_holds_each_candidate_once(values):
    (found,) = sweeps(run_of(*(proxy(alpha) for alpha in values)))
    assert [x for x, _ in found.points] == sorted(values)
    assert {name for _, name in found.points} == {f"small_mix-{alpha}" for alpha in values}
    assert found.x_label == "α"


def test_other_experts_are_other_sweeps():
    pairs = [proxy(a, expert) for a in (0.5, 1.0) for expert in ("small_mix", "small_math")]
    assert [len(one.points) for one in sweeps(run_of(*pairs))] == [2, 2]


def test_base_and_tuned_are_compared_with():
    plain = [weights(role, "checkpoint", (role,)) for role in ("large_base", "large_mix")]
    (found,) = sweeps(run_of(proxy(0.5), proxy(1.0), *plain))
    assert found.levels == ("large_base", "large_mix")


def test_an_option_that_differs_is_a_sweep_but_a_seed_is_not():
    inputs = ("a", "b")
    decays = [weights(f"ema-{d}", "ema", inputs, decay=d) for d in (0.5, 0.7)]
    (found,) = sweeps(run_of(*decays))
    assert (found.x_label, [x for x, _ in found.points]) == ("decay", [0.5, 0.7])
    assert sweeps(run_of(*(weights(f"dare-{s}", "dare", inputs, seed=s) for s in (0, 1)))) == []


def test_averages_along_a_run_are_ordered_by_their_last_step():
    ends = [weights(f"swa-{n}", "swa", tuple(f"base@{i}" for i in range(100, n, 100)))
            for n in (900, 400)]  # fmt: skip
    other = weights("swa-other", "swa", ("elsewhere@100", "elsewhere@200"))
    (found,) = trajectories(run_of(*ends, other, weights("base", "checkpoint", ("base",))))
    assert found.points == ((300.0, "swa-400"), (800.0, "swa-900"))
    assert found.levels == ("base",)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series") / "run"
    return write_run(folder, Shape(candidates=14, tasks=4, examples=8))


def test_the_data_of_a_sweep_are_the_records(run):
    data = render(run).parent / "data"
    frame = pd.read_csv(next(data.glob("sweep-proxy-tuning*.csv")))
    loaded = load_run(run)
    means = frame[(frame["tasks"] == "Mean accuracy") & frame["α"].notna()]
    assert list(means["α"]) == sorted(means["α"])
    for row in means.to_dict("records"):
        values = [loaded.quality(row["candidate"], task).value for task in loaded.tasks]
        assert row["accuracy"] == pytest.approx(sum(values) / len(values))


def test_workloads_that_differ_only_in_requests_are_one_ladder(run):
    (ladder,) = load_ladders(load_run(run))
    assert [load.num_requests for load in ladder] == [1, 4, 16]


def test_pages_exist_only_where_there_is_something_to_show(run, tmp_path):
    manifest = json.loads((run / "manifest.json").read_text())
    manifest |= {"candidates": manifest["candidates"][:1], "cells": []}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    line = {"candidate": "base", "family": "checkpoint", "task": "knowledge", "metric": "acc"}
    write_lines(tmp_path, [line | {"value": 0.5, "n": 8}])
    index = render(tmp_path)
    for kind in ("latency", "memory", "sweeps", "routing"):
        assert not index.with_name(f"{kind}.html").exists()
        assert f"{kind}.html" not in index.read_text()
    routing = {"metric": "routing_repetition/knowledge/0", "value": 0.2, "n": 8}
    write_lines(tmp_path, [line | {"value": 0.5, "n": 8}, line | routing])
    assert "routing.html" in render(tmp_path).read_text()
    write_lines(tmp_path, [line | {"value": 0.5, "n": 8}])
    assert not render(tmp_path).with_name("routing.html").exists()
