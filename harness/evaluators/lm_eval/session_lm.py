"""Adapts a session to lm-eval's model interface."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from transformers import PreTrainedTokenizerBase

from melange.harness.contracts import Session
from melange.harness.errors import HarnessError
from melange.harness.requests import Generation, Length, Request

DEFAULT_MAX_NEW_TOKENS = 256
"""lm-eval's default for tasks that set no number; half of the context if that is no longer."""
SAMPLING: dict[str, tuple[str, type]] = {
    "temperature": ("temperature", float),
    "top_p": ("top_p", float),
    "top_k": ("top_k", int),
    "min_p": ("min_p", float),
    "repetition_penalty": ("repetition_penalty", float),
    "presence_penalty": ("presence_penalty", float),
    "frequency_penalty": ("frequency_penalty", float),
    "min_tokens": ("min_tokens", int),
    "min_new_tokens": ("min_tokens", int),
}
"""generation_kwargs of a task -> field of `Generation`."""
HANDLED = frozenset({"until", "do_sample", "max_gen_toks"})
NEUTRAL = {"num_beams": 1, "num_return_sequences": 1, "use_cache": True, "n": 1}
"""Settings of transformers, with the values at which they have no effect."""


class SessionLM(TemplateLM):
    """An engine session as lm-eval sees a model; also usable with `lm_eval.simple_evaluate`."""

    def __init__(self, engine: Session, tokenizer: PreTrainedTokenizerBase, seed: int = 0) -> None:
        super().__init__()
        self.engine = engine
        self.tokenizer = tokenizer
        self.seed = seed
        self._token_ids: dict[tuple[str, bool | None], list[int]] = {}
        self._requests: dict[tuple[str, str], Request] = {}
        self._settings: dict[tuple[str, int], Generation] = {}
        self.cut: set[int] = set()
        """Ids of the instances whose prompt lost its beginning, since this was last cleared."""
        self.ballots: dict[int, list[str]] = {}
        """By the instance's id: the answers that were voted on."""

    @property
    def eot_token_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else int(bos)

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        if add_special_tokens is None:
            add_special_tokens = self._adds_special_tokens(string)
        key = (string, add_special_tokens)
        if key not in self._token_ids:
            ids = self.tokenizer.encode(string, add_special_tokens=add_special_tokens)
            self._token_ids[key] = list(ids)
        return self._token_ids[key]

    def _adds_special_tokens(self, string: str) -> bool:
        bos = self.tokenizer.bos_token
        return not (bos and string.startswith(bos))

    def _remember(self, strings: Iterable[str]) -> None:
        """Tokenize new strings in one batch, which is many times as fast as one by one."""
        keys = {(string, self._adds_special_tokens(string)) for string in strings if string}
        for special in (True, False):
            new = [key for key in keys if key[1] == special and key not in self._token_ids]
            if new:
                texts = [string for string, _ in new]
                ids = self.tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"]
                self._token_ids.update(zip(new, ids, strict=True))

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        pairs = [request.args for request in requests]
        new = [pair for pair in pairs if pair not in self._requests]
        self._remember(text for context, rest in new for text in (context.rstrip(), context + rest))
        scored = [self._clip(one, self._request(*one.args)) for one in requests]
        return [(score.logprob, score.greedy) for score in self.engine.score(scored)]

    def likelihood_lengths(self, pairs: Sequence[tuple[str, str]]) -> list[Length]:
        self._remember(
            text for context, rest in pairs for text in (context.rstrip(), context + rest)
        )
        prompts = [sum(map(len, self._request(*pair))) for pair in pairs]
        return [Length(prompt, prompt + 1) for prompt in prompts]  # the engine adds one token

    def generation_lengths(self, prompts: Sequence[tuple[str, dict[str, Any]]]) -> list[Length]:
        self._remember(context for context, _ in prompts)
        lengths = []
        for context, gen_kwargs in prompts:
            num_tokens = len(self.tok_encode(context))
            lengths.append(Length(num_tokens, num_tokens + self._asked(gen_kwargs).max_tokens))
        return lengths

    def _loglikelihood_tokens(self, *_: Any, **__: Any) -> list[tuple[float, bool]]:
        raise AssertionError("`loglikelihood` does it")

    def _clip(self, instance: Instance, request: Request) -> Request:
        """The last tokens that fit, as lm-eval's vLLM model keeps them.

        Raises:
            HarnessError: nothing would be left of the context.
        """
        context, continuation = request
        room = self.engine.max_model_len - 1 - len(continuation)  # the engine adds a token
        if len(context) <= room:
            return request
        if room < 1:
            raise HarnessError(
                f"{instance.task_name}: an answer of {len(continuation)} tokens leaves no room for "
                f"its prompt in a context of {self.engine.max_model_len}; leave the task out"
            )
        self.cut.add(id(instance))
        return Request(context[-room:], continuation)

    def _request(self, context: str, continuation: str) -> Request:
        """Tokens of a pair as `TemplateLM.loglikelihood` makes them; candidates ask again."""
        pair = (context, continuation)
        if pair not in self._requests:
            self._requests[pair] = Request(*map(tuple, self._encode_any(*pair)))
        return self._requests[pair]

    def _encode_any(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        if context:
            return self._encode_pair(context, continuation)
        tokens = self.tok_encode(continuation, add_special_tokens=False)
        prefix = [self.prefix_token_id]
        return (tokens[:1], tokens[1:]) if tokens[:1] == prefix else (prefix, tokens)

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        windows: list[Request] = []
        owners: list[int] = []
        for owner, request in enumerate(requests):
            rolling = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.engine.max_model_len - 2,
                context_len=1,
            )
            for context, continuation in map(make_disjoint_window, rolling):
                windows.append(Request(tuple(context), tuple(continuation)))
                owners.append(owner)
        totals = [0.0] * len(requests)
        for owner, score in zip(owners, self.engine.score(windows), strict=True):
            totals[owner] += score.logprob
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        self._remember(request.args[0] for request in requests)
        generations = [
            self._generation(request, draw=draw) for draw, request in enumerate(requests)
        ]
        completions = self.engine.generate(generations)
        for request, asked, found in zip(requests, generations, completions, strict=True):
            if found.ballots:
                self.ballots[id(request)] = [_text(one, asked) for one in found.ballots]
        return [
            _text(completion.text, generation)
            for completion, generation in zip(completions, generations, strict=True)
        ]

    def _generation(self, instance: Instance, *, draw: int) -> Generation:
        context, gen_kwargs = instance.args
        settings = self._asked(gen_kwargs)
        return settings._replace(
            prompt=self._prompt(instance, context, settings.max_tokens),
            # Repeats of one prompt must differ, and a run must repeat.
            seed=None if settings.seed is None else settings.seed + draw,
        )

    def _prompt(self, instance: Instance, context: str, max_tokens: int) -> tuple[int, ...]:
        """The last tokens that leave room for the new ones, as lm-eval's vLLM model keeps them.

        Raises:
            HarnessError: none do.
        """
        tokens = self.tok_encode(context)
        room = self.engine.max_model_len - max_tokens
        if len(tokens) <= room:
            return tuple(tokens)
        if room < 1:
            raise HarnessError(
                f"{instance.task_name}: {max_tokens} new tokens leave no room for a prompt of "
                f"{len(tokens)} in a context of {self.engine.max_model_len}; lower the task's "
                "max_gen_toks, or leave it out"
            )
        self.cut.add(id(instance))
        return tuple(tokens[-room:])

    def _asked(self, gen_kwargs: dict[str, Any]) -> Generation:
        default = DEFAULT_MAX_NEW_TOKENS
        if default >= self.engine.max_model_len:
            default = self.engine.max_model_len // 2
        key = (repr(gen_kwargs), default)  # a task's requests have equal ones, each a copy
        if key not in self._settings:
            self._settings[key] = self._normalized(gen_kwargs, default)
        return self._settings[key]

    def _normalized(self, gen_kwargs: dict[str, Any], default_max_tokens: int) -> Generation:
        """What is asked for, of any prompt; with the seed of the first draw where it samples."""
        kwargs = normalize_gen_kwargs(gen_kwargs, default_max_tokens)
        eos = self.tokenizer.decode(self.eot_token_id)
        return Generation(
            prompt=(),
            max_tokens=kwargs["max_gen_toks"],
            stop=tuple(handle_stop_sequences(list(kwargs["until"]), eos=eos)),
            seed=self.seed * 1_000_003 if kwargs.get("do_sample") else None,
            **_sampling(kwargs),
        )


def _text(text: str, asked: Generation) -> str:
    return postprocess_generated_text(text, list(asked.stop), None)


def _sampling(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What a task asks of sampling, by vLLM's names.

    Raises:
        HarnessError: it asks for something that would have to be left out.
    """
    found: dict[str, Any] = {}
    for name, value in kwargs.items():
        if name in SAMPLING:
            own, kind = SAMPLING[name]
            found |= {own: kind(value)} if value else {}  # 0 and null: as by default
        elif name not in HANDLED and value != NEUTRAL.get(name):
            raise HarnessError(
                f"generation_kwargs: {name}={value!r} is not supported; a task may set "
                f"{', '.join(sorted(SAMPLING))}, until, do_sample and max_gen_toks"
            )
    return found
