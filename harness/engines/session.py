"""One vLLM engine in this process: weights come and go, the engine stays.

Import this module before vllm: it sets the environment that an in-process engine needs.
"""

import gc
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.engines.scoring import NodeResult, plan_nodes, read_scores
from harness.errors import HarnessError
from harness.records import EngineShape, LogitMix
from harness.requests import Completion, Generation, Request, Score, Timing, Tokens

# In process and without compilation an engine of a small model is ready in 4 s instead of 32 s.
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
if not os.path.exists("/proc/driver/nvidia"):
    # On a CPU the compiled sampler kernels cost 15 s per machine and gain nothing.
    os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")

LONG_CONTINUATION = 4
"""From this many tokens on, one pass with prompt log-probabilities beats a request per token."""

MAX_TOKENS_PER_NODE = 128
"""vLLM's limit on `logprob_token_ids`."""

PROBE = (1,)
ONE_TOKEN = Generation(prompt=(), max_tokens=1)


class Session:
    """A running engine that serves one candidate at a time.

    `load` chooses the candidate. A plain checkpoint can score and generate; proxy-tuning runs its
    experts in a logits processor, and is scored by decoding steps, where that processor applies.
    """

    def __init__(self, checkpoint: Path, shape: EngineShape) -> None:
        self.shape = shape
        self._llm = _start(checkpoint, shape)
        self._loaded = checkpoint
        self._mix: dict[str, Any] | None = None

    @property
    def max_model_len(self) -> int:
        return self.shape.max_model_len

    @property
    def vocabulary(self) -> int:
        """Number of token ids that the embedding knows."""
        return int(self._llm.llm_engine.model_config.get_vocab_size())

    def forget_prefixes(self) -> None:
        """Compute the next prompts in full, whatever was served before."""
        self._llm.reset_prefix_cache()

    def load(
        self, checkpoint: Path, mix: LogitMix | None = None, roles: Mapping[str, Path] | None = None
    ) -> None:
        """Serve these weights from now on, with the experts of `mix` on top if there are any.

        Raises:
            HarnessError: the checkpoint lacks tensors of the running engine, or holds NaN.
        """
        if checkpoint != self._loaded:
            self._reload(checkpoint)
        self._mix = None
        if mix is not None:
            paths = roles or {}
            self._mix = {
                "expert": str(paths[mix.expert]),
                "antiexpert": str(paths[mix.antiexpert]),
                "alpha": mix.alpha,
            }
        self._check_finite(checkpoint)

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        """Continue each prompt; the stop string, if met, is not part of the text."""
        params = [self._params(generation) for generation in generations]
        outputs = self._run([generation.prompt for generation in generations], params)
        return [_completion(output) for output in outputs]

    def score(self, requests: Sequence[Request]) -> list[Score]:
        """Log-likelihood of each continuation, as the loaded candidate would decode it."""
        by_prompt = self._mix is None
        long = {r for r in requests if by_prompt and len(r.continuation) >= LONG_CONTINUATION}
        scores = dict(self._score_long(list(long)))
        short = list({r for r in requests if r not in long})
        scores.update(
            zip(short, read_scores(short, self._ask(plan_nodes(short).wanted)), strict=True)
        )
        return [scores[request] for request in requests]

    def close(self) -> None:
        """Free the engine; the process can start another."""
        del self._llm
        gc.collect()

    def _check_finite(self, checkpoint: Path) -> None:
        probe = self.score([Request(PROBE, PROBE)])[0]
        if not math.isfinite(probe.logprob):
            raise HarnessError(
                f"{checkpoint.name}: log-probabilities are not finite; the weights hold NaN or inf"
            )

    def _reload(self, checkpoint: Path) -> None:
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": str(checkpoint)})
        self.forget_prefixes()
        self._loaded = checkpoint

    def _params(self, generation: Generation, **more: Any) -> Any:
        from vllm import SamplingParams

        values = generation._asdict() | {"stop": list(generation.stop)}
        del values["prompt"]
        return SamplingParams(**(values | {"extra_args": self._extra()} | more))

    def _extra(self) -> dict[str, Any] | None:
        return {"proxy": self._mix} if self._mix else None

    def _run(self, prompts: Iterable[Tokens], params: Sequence[Any]) -> list[Any]:
        inputs = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        return self._llm.generate(inputs, list(params), use_tqdm=False) if inputs else []

    def _ask(self, wanted: Mapping[Tokens, set[int]]) -> dict[Tokens, NodeResult]:
        prompts, params = [], []
        for prefix, tokens in wanted.items():
            for part in _parts(sorted(tokens), MAX_TOKENS_PER_NODE):
                prompts.append(prefix)
                params.append(self._params(ONE_TOKEN, logprob_token_ids=part, detokenize=False))
        results: dict[Tokens, NodeResult] = {}
        for prefix, output in zip(prompts, self._run(prompts, params), strict=True):
            known = results.get(prefix)
            found = _node_result(output)
            results[prefix] = found if known is None else _join(known, found)
        return results

    def _score_long(self, requests: Sequence[Request]) -> Iterable[tuple[Request, Score]]:
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
        for request, output in zip(requests, outputs, strict=True):
            yield request, _prompt_score(request, output.prompt_logprobs)

    def _score_prompts(self, requests: Sequence[Request], *, skip_cache: bool) -> list[Any]:
        params = self._params(
            ONE_TOKEN,
            prompt_logprobs=1,
            detokenize=False,
            skip_reading_prefix_cache=skip_cache,
        )
        prompts = [request.context + request.continuation for request in requests]
        return self._run(prompts, [params] * len(prompts))


def _start(checkpoint: Path, shape: EngineShape) -> Any:
    from vllm import LLM

    from harness.engines.proxy_processor import ProxyTuning

    options: dict[str, Any] = {
        "dtype": shape.dtype,
        "max_model_len": shape.max_model_len,
        "max_num_seqs": shape.max_num_seqs,
        # Without log-probabilities of what was sampled from, a processor would not show in scores.
        "logprobs_mode": "processed_logprobs",
        "logits_processors": [ProxyTuning],
        # The processor reads the tokens sampled so far, which async scheduling has not yet.
        "async_scheduling": False,
        "disable_log_stats": False,
        "enable_prefix_caching": True,
    }
    if shape.device == "cpu":
        options |= {
            "enforce_eager": True,
            "distributed_executor_backend": "uni",
            "kv_cache_memory_bytes": shape.kv_cache_bytes,
        }
    return LLM(str(checkpoint), **options)


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


def _join(left: NodeResult, right: NodeResult) -> NodeResult:
    return NodeResult({**left.logprobs, **right.logprobs}, left.greedy_token)


def _prompt_score(request: Request, rows: Sequence[Mapping[int, Any] | None]) -> Score:
    logprob, greedy = 0.0, True
    for row, token in zip(rows[len(request.context) :], request.continuation, strict=True):
        assert row is not None  # only the first token of a prompt has no row
        logprob += row[token].logprob
        greedy &= row[token].rank == 1
    return Score(logprob, greedy)


def _parts(tokens: list[int], size: int) -> Iterable[list[int]]:
    return (tokens[start : start + size] for start in range(0, len(tokens), size))
