"""Routing: the engine reports the experts of each token, and statistics are computed from them."""

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import run_here
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from zoo_of_folders import FolderZoo, plan_of

from melange.harness.checkpoints.info import inspect
from melange.harness.engine_shapes import shape_of
from melange.harness.errors import HarnessError
from melange.harness.evaluators.routing import chance_of_any, expert_shares, repetition
from melange.harness.records import Suite
from melange.harness.requests import Route
from melange.tasks.registry import load_tasks
from melange.tasks.sources import task_sources

TASKS = load_tasks()
EXPERTS, CHOSEN, LAYERS = 8, 2, 3
LIMIT = 20

choices = arrays(np.int64, st.tuples(st.just(2), st.integers(2, 12), st.just(CHOSEN)),
                 elements=st.integers(0, EXPERTS - 1))  # fmt: skip


@given(choices)
def test_what_is_chosen_adds_up_and_repeats_as_a_loop_counts(chosen_LTK: np.ndarray) -> None:
    route = Route(chosen_LTK, EXPERTS)
    assert expert_shares(route).sum(axis=1) == pytest.approx(1)
    for layer, chosen_TK in enumerate(chosen_LTK):
        pairs = list(pairwise(chosen_TK))
        first = [one[0] == other[0] for one, other in pairs]
        common = [bool({*one} & {*other}) for one, other in pairs]
        assert repetition(route)[0][layer] == pytest.approx(np.mean(first))
        assert repetition(route)[1][layer] == pytest.approx(np.mean(common))


def test_chance_is_the_papers() -> None:
    """Table 5 of Mixtral's paper: about 46 % for first or second choice of eight."""
    assert chance_of_any(8, 2) == pytest.approx(13 / 28)
    assert chance_of_any(8, 1) == pytest.approx(1 / 8)
    assert chance_of_any(2, 2) == 1


def test_only_mixtures_are_asked(zoo_folders: Mapping[str, Path]) -> None:
    """A mixture that is not assembled yet is recognized by its method."""
    experts = [{"role": "large_base"}, {"role": "large_mix"}]
    suite = Suite(name="s", tasks={"pocket": ("pocket_knowledge", "routing")}, candidates=(
        {"method": "checkpoint", "roles": ["large_base", "mixture_base"]},
        {"method": "moe", "base": "large_base", "experts": experts, "gate_mode": "uniform"},
        {"method": "vote", "models": ["mixture_base", "large_base"]},
    ))  # fmt: skip
    folders = {role: zoo_folders[role] for role in ("large_base", "large_mix", "mixture_base")}
    cells = plan_of(suite, FolderZoo(folders), TASKS).cells
    assert not [cell.refused for cell in cells if cell.refused]
    asked = [cell.candidate for cell in cells if cell.task == "routing"]
    assert asked == ["mixture_base", "moe-uniform"]


@pytest.fixture(scope="module")
def session(zoo_folders: Mapping[str, Path]) -> Iterator[Any]:
    from melange.harness.engines.session import EngineSession

    folder = zoo_folders["mixture_base"]
    session = EngineSession(folder, shape_of([inspect(folder)], folder, "cpu"))
    yield session
    session.close()


def chosen_by_transformers(folder: Path, texts: list[tuple[int, ...]]) -> list[np.ndarray]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        each = [
            model(torch.tensor([text]), output_router_logits=True).router_logits for text in texts
        ]
    return [torch.stack(logits).topk(CHOSEN, dim=-1).indices.numpy() for logits in each]


@pytest.mark.slow
def test_choices_are_those_of_transformers_also_behind_a_cached_prefix(
    session: Any, zoo_folders: Mapping[str, Path], pocket_rows: Path
) -> None:
    from transformers import AutoTokenizer

    from melange.harness.evaluators.routing import Routing, read_documents

    folder, task = zoo_folders["mixture_base"], TASKS["routing"]
    sources = task_sources([task], pocket_rows)[task.name]
    encode = AutoTokenizer.from_pretrained(folder).encode
    documents = list(read_documents(sources, LIMIT))
    texts = [tuple(encode(f"{one.prompt} {one.answer}")) for one in documents]
    long = sum(texts[:6], ())  # several cache blocks
    expected = chosen_by_transformers(folder, [*texts, long])
    for told in (session.route([*texts, long]), session.route([*texts, long])):
        assert {one.num_experts for one in told} == {EXPERTS}
        for one, other in zip(told, expected, strict=True):
            assert (one.chosen_LTK == other).all()
    (found,) = Routing({"routing": (task, sources)}, folder, limit=LIMIT, seed=0).evaluate(
        session, ["routing"]
    )
    of_domain = [other for one, other in zip(documents, expected, strict=False)
                 if one.domain == "arithmetic"]  # fmt: skip
    shares = [(chosen[1] == 5).sum() / chosen[1].size for chosen in of_domain]
    assert found.values["routing_share/arithmetic/1/5"] == pytest.approx(shares)
    assert found.num_cut == 0
    assert len(found.values["routing_repetition"]) == 3 * LIMIT


@pytest.mark.slow
def test_a_dense_model_tells_no_choices(zoo_folders: Mapping[str, Path]) -> None:
    from melange.harness.engines.session import EngineSession

    folder = zoo_folders["small_base"]
    session = EngineSession(folder, shape_of([inspect(folder)], folder, "cpu"))
    with pytest.raises(HarnessError, match="no gate"):
        session.route([(1, 2, 3)])
    session.close()


SUITE = """\
title: Routing
tasks: {pocket: [pocket_knowledge, routing]}
candidates: [{method: checkpoint, roles: [mixture_base, large_base]}]
"""


@pytest.mark.slow
def test_a_run_shows_who_gets_the_tokens_and_ranks_nobody_by_it(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    out = tmp_path / "run"
    done = run_here("--suite", tmp_path / "suite.yaml", "--zoo", "pocket", "--limit", 8,
                    "--no-check", "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (out / "report" / "routing.html").read_text()
    assert "12.5 % by chance" in page
    assert "46.4 % by chance" in page
    assert page.count("share of each expert") >= LAYERS
    assert "large_base" not in page.split("<main")[1]
    assert "routing" not in (out / "report" / "data" / "accuracy-by-task.csv").read_text()
    lines = [json.loads(line) for line in (out / "measurements.jsonl").open()]
    own = [one for one in lines if one["task"] == "routing"]
    assert {one["candidate"] for one in own} == {"mixture_base"}
    shares = [one["value"] for one in own if one["metric"].startswith("routing_share/knowledge/0/")]
    assert len(shares) == EXPERTS
    assert sum(shares) == pytest.approx(1)
