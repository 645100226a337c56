"""One vLLM engine in this process: weights come and go, the engine stays.

Import this module before torch and vllm: it sets the environment that they need.
"""

import copy
import math
import operator
import time
from collections.abc import Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import melange.harness.engines.environment  # noqa: F401 (first)
from melange.harness.engines import open_loop
from melange.harness.engines.engine import Engine
from melange.harness.engines.kv_pool import pool_bytes
from melange.harness.engines.mixing import Mixing
from melange.harness.engines.process_groups import forget_process_groups
from melange.harness.engines.routing import routed
from melange.harness.engines.scoring import (
    NodeResult,
    Nodes,
    Prefix,
    ScoringPlan,
    plan_scoring,
    read_prompt_score,
    read_scores,
)
from melange.harness.engines.start import start
from melange.harness.errors import HarnessError
from melange.harness.records import EngineShape
from melange.harness.requests import (
    Completion,
    Generation,
    Request,
    Route,
    Score,
    Streamed,
    Timing,
    Tokens,
)

if TYPE_CHECKING:
    from melange.harness.recipes.logit_mix import LogitMix

PROBE = (1,)
ONE_TOKEN = Generation(prompt=(), max_tokens=1)


class EngineSession:
    """A running engine that serves one candidate at a time.

    `load` chooses the candidate. A plain checkpoint can score and generate; proxy-tuning runs its
    experts in a logits processor, and is scored by decoding steps, where that processor applies.
    """

    def __init__(self, checkpoint: Path, shape: EngineShape) -> None:
        self.shape = shape
        self._engine = Engine(partial(start, shape=shape), checkpoint)
        self._mixing: Mixing | None = None
        self._plan: ScoringPlan | None = None
        self._known_params: dict[Hashable, Any] = {}

    @property
    def _llm(self) -> Any:
        return self._engine.llm

    @property
    def max_model_len(self) -> int:
        return self.shape.max_model_len

    @property
    def vocabulary(self) -> int:
        """Number of token ids that the embedding knows."""
        return int(self._llm.llm_engine.model_config.get_vocab_size())

    @property
    def kv_pool_bytes(self) -> int:
        """What the engine has set aside for keys and values."""
        return pool_bytes(self._llm)

    def clock(self) -> float:
        return time.perf_counter()

    def forget_prefixes(self) -> None:
        """Compute the next prompts in full, whatever was served before."""
        self._llm.reset_prefix_cache()

    def load(
        self, checkpoint: Path, mix: "LogitMix | None" = None, members: Sequence[Path] = ()
    ) -> None:
        """Serve these weights from now on, mixed with the members of `mix` if there is one.

        `members` are the folders of all of the mix's members, the base's first.

        Raises:
            HarnessError: the checkpoint lacks tensors of the running engine, or holds NaN.
        """
        self._engine.serve(checkpoint)
        self._mixing = Mixing(mix, members) if mix is not None else None
        self._check_finite(checkpoint.name)

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        """Continue each prompt; the stop string, if met, is not part of the text."""
        params = [self._params(generation) for generation in generations]
        outputs = self._run([Prefix(generation.prompt) for generation in generations], params)
        return [_completion(output) for output in outputs]

    def serve(self, generations: Sequence[Generation], due_sec: Sequence[float]) -> list[Streamed]:
        """Send each request when it is due, in seconds from now; note when each token comes."""
        from vllm.sampling_params import RequestOutputKind

        delta = {"output_kind": RequestOutputKind.DELTA}
        prompts = [Prefix(generation.prompt) for generation in generations]
        params = [self._params(generation, **delta) for generation in generations]
        return open_loop.serve(self._llm, *self._inputs(prompts, params), due_sec)

    def score(self, requests: Sequence[Request]) -> list[Score]:
        """Log-likelihood of each continuation, as the loaded candidate would decode it."""
        plan = self._planned(requests)
        found = self._score_long(plan.long) + read_scores(plan.nodes, self._ask(plan.nodes))
        return [found[place] for place in plan.places]

    def reward(self, texts: Sequence[Tokens]) -> list[float]:
        """What the loaded reward model's head says after each text's last token."""
        self._check_known([Prefix(text) for text in texts])
        inputs = [{"prompt_token_ids": [*text]} for text in texts]
        outputs = self._llm.encode(inputs, pooling_task="classify", use_tqdm=False)
        return [float(output.outputs.data) for output in outputs]

    def route(self, texts: Sequence[Tokens]) -> list[Route]:
        """
        Raises:
            HarnessError: the engine does not tell what each token chose.
        """
        # Cached tokens would not pass the routers.
        params = self._params(ONE_TOKEN, detokenize=False, skip_reading_prefix_cache=True)
        return [
            routed(self._llm, len(text), partial(self._run, [Prefix(text)], [params]))
            for text in texts
        ]

    def close(self) -> None:
        """Free the engine; the process can start another."""
        self._engine.close()

    def leave(self) -> None:
        """Instead of `close` when the process ends: removes only what would outlive it."""
        forget_process_groups()

    def _check_finite(self, name: str) -> None:
        if self.shape.runner == "pooling":
            what, value = "rewards", self.reward([PROBE])[0]
        else:
            what, value = "log-probabilities", self.score([Request(PROBE, PROBE)])[0].logprob
        if not math.isfinite(value):
            raise HarnessError(f"{name}: {what} are not finite; the weights hold NaN or inf")

    def _check_known(self, prompts: Sequence[Prefix]) -> None:
        """vLLM checks ids against the tokenizer, and computes garbage past the embedding."""
        known = self.vocabulary
        for prompt in prompts:
            highest = max(max(prompt.context, default=0), max(prompt.given, default=0))
            if highest >= known:
                raise HarnessError(
                    f"token {highest} of a prompt lies beyond the model's {known} tokens; "
                    "the tokenizer belongs to another model"
                )

    def _planned(self, requests: Sequence[Request]) -> ScoringPlan:
        """The previous batch's plan, if the requests are the same."""
        plan, one_pass = self._plan, self._mixing is None
        same = plan is not None and plan.one_pass == one_pass and len(plan.batch) == len(requests)
        if plan is None or not (same and all(map(operator.is_, plan.batch, requests))):
            plan = self._plan = plan_scoring(tuple(requests), one_pass=one_pass)
        return plan

    def _params(self, generation: Generation, **more: Hashable) -> Any:
        """The same object for requests that ask for the same: vLLM changes nothing in it that is a
        request's own, so that it need not copy them."""
        key = (*generation[1:], *more.items())
        if key not in self._known_params:
            from vllm import SamplingParams

            values = {name: _plain(value) for name, value in (generation._asdict() | more).items()}
            del values["prompt"]
            self._known_params[key] = SamplingParams(skip_clone=True, **values)
        return self._known_params[key]

    def _run(self, prompts: Sequence[Prefix], params: Sequence[Any]) -> list[Any]:
        inputs, params = self._inputs(prompts, params)
        return self._llm.generate(inputs, params, use_tqdm=False) if inputs else []

    def _inputs(
        self, prompts: Sequence[Prefix], params: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """What vLLM takes, with what the mix needs to know of each prompt."""
        self._check_known(prompts)
        if self._mixing is not None:
            params = [copy.copy(one) for one in params]
            for prompt, one in zip(prompts, params, strict=True):
                one.extra_args = {"mix": self._mixing.arguments(prompt)}
        inputs = [{"prompt_token_ids": [*prompt.context, *prompt.given]} for prompt in prompts]
        return inputs, list(params)

    def _ask(self, nodes: Nodes) -> list[NodeResult]:
        params = [
            self._params(ONE_TOKEN, logprob_token_ids=tokens, detokenize=False)
            for tokens in nodes.wanted
        ]
        return [_node_result(output) for output in self._run(nodes.prefixes, params)]

    def _score_long(self, requests: Sequence[Request]) -> list[Score]:
        """Prompt log-probabilities, with the prefix cache on.

        Rows before the cached prefix are not computed. Where the cache reached into the
        continuation (two choices with the same beginning), the request is scored again without it.
        """
        outputs = self._score_prompts(requests, skip_cache=False)
        reached = [
            i
            for i, (request, output) in enumerate(zip(requests, outputs, strict=True))
            if (output.num_cached_tokens or 0) >= len(request.context)
        ]
        again = self._score_prompts([requests[i] for i in reached], skip_cache=True)
        for i, output in zip(reached, again, strict=True):
            outputs[i] = output
        return [
            read_prompt_score(request, output.prompt_logprobs)
            for request, output in zip(requests, outputs, strict=True)
        ]

    def _score_prompts(self, requests: Sequence[Request], *, skip_cache: bool) -> list[Any]:
        params = self._params(
            ONE_TOKEN,
            prompt_logprobs=1,
            detokenize=False,
            skip_reading_prefix_cache=skip_cache,
        )
        prompts = [Prefix(*request) for request in requests]
        return self._run(prompts, [params] * len(prompts))


def _completion(output: Any) -> Completion:
    first = output.outputs[0]
    return Completion(first.text, tuple(first.token_ids), _timing(output.metrics))


def _timing(stats: Any) -> Timing | None:
    if stats is None:
        return None
    first = stats.first_token_latency
    return Timing(first, first + stats.last_token_ts - stats.first_token_ts)


def _node_result(output: Any) -> NodeResult:
    step = output.outputs[0]
    logprobs = {token: entry.logprob for token, entry in step.logprobs[0].items()}
    return NodeResult(logprobs, step.token_ids[0])


def _plain(value: object) -> object:
    """vLLM takes lists; a key needs tuples."""
    return list(value) if isinstance(value, tuple) else value
