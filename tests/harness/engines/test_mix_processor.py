"""The logits processor equals a loop over its models, in the interfaces of both vLLM runners."""

import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fused_models import TOKENIZER, draw_prompts, same_shapes
from mixes import CONTEXT, NAME, NEW_TOKENS, Mix, draw_mix, logits_of, params_of, serve
from runner_v2 import use_v2_on_a_cpu
from simulated_runner import Asked, SimulatedRunner, engine_config, load_v2
from torch.testing import assert_close

import melange.harness.engines.environment  # noqa: F401 (before vllm)
from melange.harness.recipes.logit_mix import LogitMix, Member
from melange.harness.records import EngineShape
from melange.harness.requests import Completion, Generation, Request, Score

pytestmark = pytest.mark.slow

NUM_REQUESTS = 16


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A Llama, a mixture of experts and a Qwen3."""
    return same_shapes(tmp_path_factory.mktemp("members"), seed=1)


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    return draw_prompts(0, NUM_REQUESTS, tokens=(1, 40))


@pytest.fixture(scope="module")
def mixes(members: list[Path]) -> list[Mix | None]:
    """One per request: proxy-tuning, with separate prompts or not; a mean; the base alone."""
    return [draw_mix(random.Random(number), members, number % 4) for number in range(NUM_REQUESTS)]


# Model Runner V2's interface, with a simulated runner that covers its requests' life cycles.


def load_v1(processor: Any) -> Any:
    from vllm.v1.sample import logits_processor

    (loaded,) = logits_processor._load_logitsprocs_by_fqcns([processor])
    return loaded


@pytest.mark.parametrize("seed", range(3))
def test_in_v2_rows_follow_their_requests_wherever_they_go(
    members: list[Path], prompts: list[list[int]], mixes: list[Mix | None], seed: int
) -> None:
    """Requests join late, end, are preempted and resume at another index; indices are recycled."""
    rng = random.Random(seed)
    runner = SimulatedRunner(members[0], max_num_reqs=5, seed=seed)
    runner.warm_up()
    waiting = [Asked(mix, prompt) for mix, prompt in zip(mixes, prompts, strict=True)]
    resumed, moved, last_index = 0, 0, dict[int, int]()
    while waiting or runner.running:
        if waiting and runner.has_room():
            asked = waiting.pop(rng.randrange(len(waiting)))
            index = runner.add(asked)
            resumed += bool(asked.output)
            moved += last_index.get(id(asked), index) != index
            last_index[id(asked)] = index
        runner.step()
        for index, asked in list(runner.running.items()):
            if len(asked.output) == NEW_TOKENS:
                runner.remove(index)
            elif rng.random() < 0.05:
                waiting.append(runner.remove(index))
        if rng.random() < 0.1:
            runner.warm_up()
    assert resumed > 3
    assert moved > 0


def test_what_was_ruled_out_before_stays_so_in_v2(members: list[Path]) -> None:
    """A grammar's mask comes first; a mean of probabilities must not undo it."""
    mix = draw_mix(random.Random(0), members, 2)
    runner = SimulatedRunner(members[0], max_num_reqs=2, seed=0)
    asked = Asked(mix, [5, 6, 7], num_computed=0)
    index = runner.add(asked)
    asked.num_computed = 3
    logits = torch.randn(1, len(TOKENIZER))
    logits[0, 4:] = -torch.inf
    mixed = runner.processor.apply(logits.clone(), runner._context([index]))
    assert torch.equal(mixed == -torch.inf, logits == -torch.inf)


def test_vllm_takes_the_processor_for_either_runner() -> None:
    from_name = load_v1(NAME)
    from melange.harness.engines.mix_processor import LogitMixing
    from melange.harness.engines.mix_processor_v1 import LogitMixingV1
    from melange.harness.engines.mix_processor_v2 import LogitMixingV2

    assert from_name is load_v2(NAME) is LogitMixing
    assert load_v1(LogitMixing) is load_v2(LogitMixing) is LogitMixing
    cpu = torch.device("cpu")
    assert isinstance(LogitMixing(engine_config(), cpu, False), LogitMixingV1)
    states = SimpleNamespace(device=cpu)
    assert isinstance(LogitMixing(engine_config(), states), LogitMixingV2)


def test_v2_refuses_speculative_decoding() -> None:
    from melange.harness.errors import HarnessError

    with pytest.raises(HarnessError, match="leave speculative decoding out"):
        load_v2(NAME)(engine_config(speculative_config=object()), SimpleNamespace())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"combine": "logarithms"}, "combine='logarithms'; use one of logits, probabilities"),
        ({"coefficients": [1.0]}, "1 coefficients, 2 folders and 2 prompts"),
        ({"folders": ["/nowhere", "/nowhere"]}, "/nowhere is no checkpoint folder"),
        ({"alpha": 1.0}, "its fields are combine, coefficients, folders, prompts"),
    ],
)
def test_either_runner_refuses_a_wrong_request_at_its_admission(
    members: list[Path], change: Mix, message: str
) -> None:
    processor = load_v1(NAME)
    from vllm.exceptions import VLLMValidationError
    from vllm.v1.sample.logits_processor import validate_logits_processors_parameters
    from vllm.v1.worker.gpu.sample.logits_processor import (
        build_custom_logits_processors_params_validator,
    )

    validate_v2 = build_custom_logits_processors_params_validator([processor])
    right = draw_mix(random.Random(0), members, 0)
    assert right is not None
    for params in (params_of(right), params_of(None)):
        validate_v2(params)
        validate_logits_processors_parameters([processor], params)
    wrong = params_of({**right, **change})
    with pytest.raises(VLLMValidationError, match=message):
        validate_v2(wrong)
    with pytest.raises(VLLMValidationError, match=message):
        validate_logits_processors_parameters([processor], wrong)


# Model Runner V2 itself.

on_a_cpu = pytest.mark.skipif(
    Path("/proc/driver/nvidia").exists(), reason="Triton compiles for the GPU of this machine"
)


@pytest.fixture(scope="module")
def v2_process() -> Iterator[ProcessPoolExecutor]:
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=use_v2_on_a_cpu) as pool:
        yield pool


@on_a_cpu
@pytest.mark.parametrize(
    ("options", "is_async"),
    [
        pytest.param({}, False, id="waiting"),
        pytest.param({}, True, id="together"),
        pytest.param({"max_num_batched_tokens": 32, "max_num_seqs": 6}, True, id="chunks"),
        pytest.param({"num_gpu_blocks_override": 8}, True, id="preemption"),
    ],
)
def test_model_runner_v2_serves_what_the_loop_says(
    v2_process: ProcessPoolExecutor,
    members: list[Path],
    prompts: list[list[int]],
    mixes: list[Mix | None],
    options: Mapping[str, Any],
    is_async: bool,
) -> None:
    asked = {**options, "async_scheduling": is_async}
    served = v2_process.submit(serve, members[0], prompts, mixes, asked).result()
    assert served.is_v2
    assert served.is_async == is_async
    assert (served.num_preemptions > 0) == ("num_gpu_blocks_override" in options)
    for mix, answer in zip(mixes, served.answers, strict=True):
        output = answer.token_ids
        expected_TV = logits_of(members[0], mix, answer.prompt, output)[:-1]
        assert expected_TV.argmax(-1).tolist() == output
        chosen = expected_TV.log_softmax(-1).gather(-1, torch.tensor([output]).T)[:, 0]
        assert_close(torch.tensor(answer.logprobs).double(), chosen, atol=1e-3, rtol=0)


def answer_in_a_session(
    mix: LogitMix, members: list[Path], requests: list[Request], asked: Generation
) -> tuple[list[Score], Completion]:
    from melange.harness.engines.session import EngineSession

    session = EngineSession(members[0], EngineShape(signature="v2", max_model_len=CONTEXT))
    session.load(members[0], mix, members)
    scores, (said,) = session.score(requests), session.generate([asked])
    session.close()
    return scores, said


@on_a_cpu
def test_a_session_scores_through_model_runner_v2(
    v2_process: ProcessPoolExecutor, members: list[Path], prompts: list[list[int]]
) -> None:
    """Log-probabilities of requested tokens and of top tokens are those of the mix."""
    alpha = 0.8
    mix = draw_mix(random.Random(0), members, 0)
    assert mix is not None
    mix = {**mix, "coefficients": [1.0, alpha, -alpha]}
    parts = zip(members, mix["coefficients"], strict=True)
    asked = LogitMix(
        method="proxy",
        members=tuple(Member(role=str(one), coefficient=weight) for one, weight in parts),
    )
    requests = [
        Request(tuple(prompt), tuple(choice))
        for number, prompt in enumerate(prompts)
        for choice in draw_prompts(number, 1 + number % 4, tokens=(1, 3))
    ]
    generation = Generation(tuple(prompts[0]), NEW_TOKENS, ignore_eos=True)
    answered = v2_process.submit(answer_in_a_session, asked, members, requests, generation)
    scores, said = answered.result()
    output = list(said.token_ids)
    assert logits_of(members[0], mix, prompts[0], output)[:-1].argmax(-1).tolist() == output
    for request, score in zip(requests, scores, strict=True):
        wanted = list(request.continuation)
        expected_TV = logits_of(members[0], mix, list(request.context), wanted)[:-1]
        chosen = expected_TV.log_softmax(-1).gather(-1, torch.tensor([wanted]).T)
        assert score.logprob == pytest.approx(float(chosen.sum()), abs=1e-3)
        assert score.greedy == (expected_TV.argmax(-1).tolist() == wanted)
