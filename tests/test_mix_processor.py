"""The logits processor, in the interfaces of vLLM's two runners, is the loop over its models."""

import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from fused_models import TOKENIZER, draw_prompts, same_shapes
from runner_v2 import allow_async_scheduling, use_v2_on_a_cpu
from test_fused import OPTIONS, Answer, answer_of, counted, engine, greedy, member_logits
from torch import Tensor
from torch.testing import assert_close

import melange.harness.engines.environment  # noqa: F401 (before vllm)
from melange.harness.recipes.logit_mix import LogitMix, Member
from melange.harness.records import EngineShape
from melange.harness.requests import Completion, Generation, Request, Score

pytestmark = pytest.mark.slow

NAME = "melange.harness.engines.mix_processor:LogitMixing"
CONTEXT = 192
NUM_REQUESTS = 16
NEW_TOKENS = 12
CHUNK = 7
"""Tokens of a prompt that the simulated runner computes in a step."""

Mix = Mapping[str, Any]
"""`extra_args["mix"]`."""


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A Llama, a mixture of experts and a Qwen3."""
    return same_shapes(tmp_path_factory.mktemp("members"), seed=1)


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    return draw_prompts(0, NUM_REQUESTS, tokens=(1, 40))


@pytest.fixture(scope="module")
def mixes(members: list[Path]) -> list[Mix | None]:
    """For each request: proxy-tuning, with prompts of their own or not; a mean; the base alone."""
    return [draw_mix(random.Random(number), members, number % 4) for number in range(NUM_REQUESTS)]


def draw_mix(rng: random.Random, members: Sequence[Path], kind: int) -> Mix | None:
    folders = [str(folder) for folder in members[1:]]
    own: list[list[int] | None] = [None, None]
    alpha = rng.uniform(-1, 2)
    if kind == 1:
        own[rng.randrange(2)] = rng.choices(range(2, len(TOKENIZER)), k=rng.randint(1, 30))
    elif kind == 2:
        return {
            "combine": "probabilities",
            "coefficients": [0.5, 0.2, 0.3],
            "folders": folders,
            "prompts": own,
        }
    elif kind == 3:
        return None
    return {
        "combine": "logits",
        "coefficients": [1.0, alpha, -alpha],
        "folders": folders,
        "prompts": own,
    }


def logits_of(base: Path, mix: Mix | None, prompt: list[int], output: list[int]) -> Tensor:
    """Of the first output token and those after it, one more than there are, shape [T, V]."""
    if mix is None:
        return after(base, prompt, output)
    folders = [base, *map(Path, mix["folders"])]
    seen = [prompt, *(own or prompt for own in mix["prompts"])]
    each = [after(folder, one, output) for folder, one in zip(folders, seen, strict=True)]
    each = [logits_TV[:, : len(TOKENIZER)] for logits_TV in each]
    if mix["combine"] == "probabilities":
        each = [logits_TV.softmax(-1) for logits_TV in each]
    total = sum(c * one for c, one in zip(mix["coefficients"], each, strict=True))
    return total.log() if mix["combine"] == "probabilities" else total


def after(folder: Path, prompt: list[int], output: list[int]) -> Tensor:
    return member_logits(folder, [[*prompt, *output]])[0, len(prompt) - 1 :]


# Model Runner V2's interface, with a simulated runner: what its requests and rows may do.


@dataclass
class Asked:
    mix: Mix | None
    prompt: list[int]
    output: list[int] = field(default_factory=list)
    num_computed: int = 0

    @property
    def token_ids(self) -> list[int]:
        return [*self.prompt, *self.output]


@dataclass
class Buffer:
    """A tensor that both sides see: what `StagedWriteTensor` and `UvaBackedTensor` come to."""

    gpu: Tensor

    @property
    def np(self) -> np.ndarray[Any, Any]:
        return self.gpu.numpy()


class SimulatedRunner:
    """Does to a processor what Model Runner V2 does: see its `add_requests` and `prepare_inputs`.

    Indices are recycled, last freed first, and rows have another order at every step.
    """

    def __init__(self, base: Path, *, max_num_reqs: int, seed: int) -> None:
        from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcRequestState

        self._base = base
        self._rng = random.Random(seed)
        self._free = list(range(max_num_reqs))
        self.running: dict[int, Asked] = {}
        self.states = LogitsProcRequestState(
            device=torch.device("cpu"),
            max_num_reqs=max_num_reqs,
            vocab_size=len(TOKENIZER),
            all_token_ids=Buffer(torch.zeros(max_num_reqs, CONTEXT, dtype=torch.int32)),
            prompt_len=Buffer(torch.zeros(max_num_reqs, dtype=torch.int32)),
            prefill_len=Buffer(torch.zeros(max_num_reqs, dtype=torch.int32)),
            total_len=Buffer(torch.zeros(max_num_reqs, dtype=torch.int32)),
        )
        self.processor = load_v2(NAME)(engine_config(), self.states)

    def has_room(self) -> bool:
        return bool(self._free)

    def add(self, asked: Asked) -> int:
        index = self._free.pop()
        # What the index's last request wrote behind this one's tokens stays where it is.
        self.states.all_token_ids.np[index, : len(asked.token_ids)] = asked.token_ids
        self.states.prompt_len.np[index] = len(asked.prompt)
        self.states.prefill_len.np[index] = len(asked.token_ids)
        self.states.total_len.np[index] = len(asked.token_ids)
        asked.num_computed = 0
        self.running[index] = asked
        mixed = self.processor.add_request(index, params_of(asked.mix))
        assert mixed == (asked.mix is not None)
        return index

    def remove(self, index: int) -> Asked:
        """Finished or preempted: the processor is not told."""
        self._free.append(index)
        return self.running.pop(index)

    def step(self) -> None:
        """Compute a chunk of each prompt and a token of every other, and check what came out."""
        batch = self._rng.sample(sorted(self.running), self._rng.randint(1, len(self.running)))
        for index in batch:
            asked = self.running[index]
            asked.num_computed = min(asked.num_computed + CHUNK, len(asked.token_ids))
        base_BV = torch.stack([self._base_logits(self.running[index]) for index in batch])
        self.processor.apply_staged_writes()
        mixed_BV = self.processor.apply(base_BV.clone(), self._context(batch))
        for index, base_V, mixed_V in zip(batch, base_BV, mixed_BV, strict=True):
            self._check_and_sample(index, base_V, mixed_V)

    def warm_up(self) -> None:
        """Rows for indices that belong to no request, or to none any more."""
        from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext

        num = self.states.max_num_reqs
        zeros = torch.zeros(num, dtype=torch.int32)
        context = LogitsContext(
            expanded_idx_mapping=torch.arange(num),
            idx_mapping=torch.arange(num),
            idx_mapping_np=np.arange(num),
            expanded_local_pos=zeros,
            input_ids=zeros,
            pos=zeros.long(),
            seq_lens_upper_bound_np=np.ones(num, dtype=np.int32),
        )
        logits = torch.randn(num, len(TOKENIZER))
        assert self.processor.apply(logits, context).isfinite().all()

    def _base_logits(self, asked: Asked) -> Tensor:
        seen = asked.token_ids[: asked.num_computed]
        return member_logits(self._base, [seen])[0, -1].float()

    def _context(self, batch: list[int]) -> Any:
        from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext

        num_computed = [self.running[index].num_computed for index in batch]
        indices, pos = torch.tensor(batch), torch.tensor(num_computed) - 1
        return LogitsContext(
            expanded_idx_mapping=indices,
            idx_mapping=indices,
            idx_mapping_np=indices.numpy(),
            expanded_local_pos=torch.zeros(len(batch), dtype=torch.int32),
            input_ids=self.states.all_token_ids.gpu[indices, pos],
            pos=pos,
            seq_lens_upper_bound_np=np.array(num_computed, dtype=np.int32),
        )

    def _check_and_sample(self, index: int, base_V: Tensor, mixed_V: Tensor) -> None:
        asked = self.running[index]
        if asked.num_computed < len(asked.token_ids):
            return  # vLLM throws away what follows a chunk of a prompt.
        if asked.mix is None:
            assert torch.equal(mixed_V, base_V)
        else:
            expected_V = logits_of(self._base, asked.mix, asked.prompt, asked.output)[-1]
            assert_close(mixed_V.double(), expected_V, atol=1e-4, rtol=0)
        asked.output.append(int(mixed_V.argmax()))
        total_len = int(self.states.total_len.np[index])
        self.states.all_token_ids.np[index, total_len] = asked.output[-1]
        self.states.total_len.np[index] += 1


def params_of(mix: Mix | None, **more: Any) -> Any:
    from vllm import SamplingParams

    return SamplingParams(extra_args={"mix": dict(mix)} if mix else None, **more)


def engine_config(**more: Any) -> Any:
    known = {
        "model_config": SimpleNamespace(dtype=torch.float32),
        "compilation_config": SimpleNamespace(),
        "speculative_config": None,
    }
    return SimpleNamespace(**(known | more))


def load_v2(processor: Any) -> Any:
    from vllm.v1.worker.gpu.sample.logits_processor import loader

    (loaded,) = loader._load_v2_logitsprocs_by_fqcns([processor])
    return loaded


def load_v1(processor: Any) -> Any:
    from vllm.v1.sample import logits_processor

    (loaded,) = logits_processor._load_logitsprocs_by_fqcns([processor])
    return loaded


@pytest.mark.parametrize("seed", range(3))
def test_in_v2_rows_follow_their_requests_wherever_they_go(
    members: list[Path], prompts: list[list[int]], mixes: list[Mix | None], seed: int
) -> None:
    """They join late, end, are preempted and resume elsewhere; indices are recycled."""
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
    """A grammar's mask comes first; the mean of probabilities must not lift it."""
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


class Served(NamedTuple):
    answers: list[Answer]
    is_v2: bool
    is_async: bool
    num_preemptions: float


@pytest.fixture(scope="module")
def v2_process() -> Iterator[ProcessPoolExecutor]:
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=use_v2_on_a_cpu) as pool:
        yield pool


def serve(
    base: Path, prompts: list[list[int]], mixes: list[Mix | None], options: Mapping[str, Any]
) -> Served:
    """A request joins at every step."""
    from melange.harness.engines.mix_processor import LogitMixing

    allow_async_scheduling()
    finished: dict[str, Any] = {}
    with engine(base, **(OPTIONS | {"logits_processors": [LogitMixing]} | options)) as llm:
        waiting = list(enumerate(zip(prompts, mixes, strict=True)))
        while waiting or llm.llm_engine.has_unfinished_requests():
            if waiting:
                number, (prompt, mix) = waiting.pop(0)
                params, inputs = greedy(NEW_TOKENS, False, mix), {"prompt_token_ids": prompt}
                llm.llm_engine.add_request(str(number), inputs, params)
            finished |= {o.request_id: o for o in llm.llm_engine.step() if o.finished}
        config = llm.llm_engine.vllm_config
        return Served(
            answers=[answer_of(finished[str(number)]) for number in range(len(prompts))],
            is_v2=config.use_v2_model_runner,
            is_async=config.scheduler_config.async_scheduling,
            num_preemptions=counted(llm, "num_preemptions"),
        )


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
    from melange.harness.engines.session import Session

    session = Session(members[0], EngineShape(signature="v2", max_model_len=CONTEXT))
    session.load(members[0], mix, members)
    scores, (said,) = session.score(requests), session.generate([asked])
    session.close()
    return scores, said


@on_a_cpu
def test_a_session_scores_through_model_runner_v2(
    v2_process: ProcessPoolExecutor, members: list[Path], prompts: list[list[int]]
) -> None:
    """Log-probabilities of wanted tokens, of as many as each request wants, are the mix's."""
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
