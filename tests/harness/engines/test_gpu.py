"""Engines on a GPU, in bfloat16 with CUDA graphs, agree with transformers in float32.

The engine rounds every activation to 8 bits of mantissa, so tokens of about equal probability may
change places. It must not choose one that is clearly less likely.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from fused_answers import Formula, member_logits, proxy_tuned
from fused_models import draw_prompts, same_shapes
from session_process import SessionProcess

from melange.harness.checkpoints.info import inspect
from melange.harness.engine_shapes import shape_of
from melange.harness.engines.fused.folder import write_folder
from melange.harness.recipes.logit_mix import LogitMix, Member
from melange.harness.requests import Generation, Request

pytestmark = pytest.mark.gpu

DEVICE = "cuda"
NEW_TOKENS = 16
ALPHA = 0.8
COEFFICIENTS = (1.0, ALPHA, -ALPHA)
MEAN_NATS = 0.15
"""Allowed mean error of a token's log-probability. Single ones may be off by a nat, where rounding
sends a token to another expert."""
SECOND_SEED = 7

Prompts = list[list[int]]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A Llama with a tied head, a mixture of experts and a Qwen3."""
    return same_shapes(tmp_path_factory.mktemp("members"), seed=1, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Models of the members' shapes with other weights."""
    out = tmp_path_factory.mktemp("others")
    return same_shapes(out, seed=SECOND_SEED, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def fused(members: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("fused") / "one", members, COEFFICIENTS).path


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    return draw_prompts(0, 24, tokens=(2, 60))


@pytest.fixture(scope="module")
def session(
    request: pytest.FixtureRequest, members: list[Path], fused: Path
) -> Iterator[SessionProcess]:
    """One engine at a time: each claims most of a GPU's memory."""
    folder, models = {"alone": (members[0], members[:1]), "fused": (fused, members)}[request.param]
    opened = SessionProcess(folder, shape_of([inspect(one) for one in models], folder, DEVICE))
    yield opened
    opened.close()


alone = pytest.mark.parametrize("session", ["alone"], indirect=True)
together = pytest.mark.parametrize("session", ["fused"], indirect=True)
either = pytest.mark.parametrize("session", ["alone", "fused"], indirect=True)


def answers(session: SessionProcess, prompts: Prompts) -> Prompts:
    asked = [Generation(tuple(one), NEW_TOKENS, ignore_eos=True) for one in prompts]
    return [list(completion.token_ids) for completion in session.generate(asked)]


def assert_says_what_transformers_says(
    session: SessionProcess, prompts: Prompts, folders: Sequence[Path], formula: Formula
) -> None:
    """Greedy tokens, and log-probabilities of one, two and all of them."""
    said = answers(session, prompts)
    rows = [[*prompt, *answer] for prompt, answer in zip(prompts, said, strict=True)]
    logprobs_RTV = reference(rows, folders, formula)
    lost = [
        logprobs_TV[len(prompt) - 1 :].amax(-1)[:NEW_TOKENS] - chosen(logprobs_TV, prompt, answer)
        for prompt, answer, logprobs_TV in zip(prompts, said, logprobs_RTV, strict=True)
    ]
    assert torch.cat(lost).mean() <= MEAN_NATS
    for size in (NEW_TOKENS, 2, 1):
        parts = [
            Request(tuple(prompt), tuple(answer[:size]))
            for prompt, answer in zip(prompts, said, strict=True)
        ]
        off = [
            score.logprob - float(chosen(logprobs_TV, *request).sum())
            for request, score, logprobs_TV in zip(
                parts, session.score(parts), logprobs_RTV, strict=True
            )
        ]
        assert torch.tensor(off).abs().mean() / size <= MEAN_NATS


def chosen(
    logprobs_TV: torch.Tensor, context: Sequence[int], continuation: Sequence[int]
) -> torch.Tensor:
    """Log-probability of each token of the continuation."""
    rows = logprobs_TV[len(context) - 1 :][: len(continuation)]
    return rows.gather(-1, torch.tensor([continuation]).T)[:, 0]


def reference(rows: Prompts, folders: Sequence[Path], formula: Formula) -> torch.Tensor:
    """Transformers' log-probabilities in float32, over the tokens that all members have."""
    each = [member_logits(folder, rows) for folder in folders]
    common = min(logits.shape[-1] for logits in each)
    return formula([logits[..., :common] for logits in each]).log_softmax(-1)


def base_alone(each: list[torch.Tensor]) -> torch.Tensor:
    return each[0]


@either
def test_the_engine_captures_cuda_graphs(session: SessionProcess) -> None:
    graphs = session.graphs()
    assert not graphs.eager
    assert graphs.mode != "NONE"
    assert graphs.num_captured > 0


@alone
def test_a_checkpoint_says_what_transformers_says(
    session: SessionProcess, prompts: Prompts, members: list[Path]
) -> None:
    session.load(members[0])
    assert_says_what_transformers_says(session, prompts, members[:1], base_alone)


@alone
def test_reloaded_weights_are_served(
    session: SessionProcess, prompts: Prompts, members: list[Path], others: list[Path]
) -> None:
    session.load(members[0])
    before = answers(session, prompts)
    session.load(others[0])
    assert answers(session, prompts) != before
    assert_says_what_transformers_says(session, prompts, others[:1], base_alone)
    session.load(members[0])
    assert_says_what_transformers_says(session, prompts, members[:1], base_alone)


@alone
def test_the_logits_processor_is_the_three_model_loop(
    session: SessionProcess, prompts: Prompts, members: list[Path]
) -> None:
    parts = zip(members, COEFFICIENTS, strict=True)
    mix = LogitMix(
        method="proxy",
        members=tuple(Member(role=str(one), coefficient=weight) for one, weight in parts),
    )
    session.load(members[0], mix, members)
    assert_says_what_transformers_says(session, prompts, members, proxy_tuned(ALPHA))


@together
def test_a_fused_model_is_the_three_model_loop(
    session: SessionProcess, prompts: Prompts, members: list[Path], fused: Path
) -> None:
    session.load(fused)
    assert_says_what_transformers_says(session, prompts, members, proxy_tuned(ALPHA))


@together
def test_a_reloaded_fused_model_is_the_loop_of_its_new_members(
    session: SessionProcess,
    prompts: Prompts,
    fused: Path,
    others: list[Path],
    tmp_path: Path,
) -> None:
    session.load(fused)
    before = answers(session, prompts)
    session.load(write_folder(tmp_path / "other", others, (1.0, -ALPHA, ALPHA)).path)
    assert answers(session, prompts) != before
    assert_says_what_transformers_says(session, prompts, others, proxy_tuned(-ALPHA))
