"""Requests that reach a real engine while others run."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from melange.baselines.proxy.tuning import Pair, mix_members
from melange.harness.measure.open_loop import drive
from melange.harness.measure.speed import requests_of
from melange.harness.recipes.logit_mix import LogitMix
from melange.harness.records import EngineShape, Workload

pytestmark = pytest.mark.slow

LOAD = Workload(name="serve", prompt_tokens=12, output_tokens=8, num_requests=24, request_rate=60.0)
PAIR = Pair(expert="small_mix", antiexpert="small_base", alpha=1.0)
MIX = LogitMix(method="proxy", members=mix_members("large_base", [PAIR]))


@pytest.fixture(scope="module")
def session(zoo_folders: Mapping[str, Path]) -> Iterator[Any]:
    from melange.harness.engines.session import EngineSession

    folder = zoo_folders["large_base"]
    opened = EngineSession(folder, EngineShape(signature="large", max_model_len=64))
    yield opened
    opened.close()


@pytest.fixture
def streamed(session: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """Token ids by request of the loop, as the engine hands them out."""
    engine, found = session._llm.llm_engine, {}
    step = engine.step

    def noted() -> Any:
        outputs = step()
        for one in outputs:
            if not one.request_id.startswith("open-"):
                continue  # `load` asks for a token to see whether weights are finite
            found.setdefault(one.request_id, []).extend(one.outputs[0].token_ids)
        return outputs

    monkeypatch.setattr(engine, "step", noted)
    return found


@pytest.mark.parametrize("mix", [None, MIX], ids=["plain", "proxy"])
def test_requests_come_when_due_and_get_the_tokens_of_a_batch(
    session: Any, zoo_folders: Mapping[str, Path], streamed: dict[str, list[int]], mix: Any
) -> None:
    members = [zoo_folders[one.role] for one in MIX.members] if mix else []
    session.load(zoo_folders["large_base"], mix, members)
    requests = drive(session, LOAD, seed=5).requests
    served = list(streamed.values())
    for one in requests:
        assert one.due_sec <= one.sent_sec <= one.piece_sec[0]
        assert all(before < after for before, after in pairwise(one.piece_sec))
        assert (one.num_tokens, len(one.piece_sec)) == (8, 8)
    assert [one.sent_sec for one in requests] == sorted(one.sent_sec for one in requests)
    assert requests[-1].sent_sec >= LOAD.num_requests / LOAD.request_rate
    prompts = requests_of(LOAD, vocabulary=session.vocabulary, seed=5)
    assert served == [list(one.token_ids) for one in session.generate(prompts)]


def test_a_loop_that_breaks_leaves_no_request_behind(
    session: Any, zoo_folders: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    session.load(zoo_folders["large_base"])
    engine = session._llm.llm_engine
    monkeypatch.setattr(engine, "step", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drive(session, LOAD, seed=0)
    monkeypatch.undo()
    assert not engine.has_unfinished_requests()
