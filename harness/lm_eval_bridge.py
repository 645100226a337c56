"""lm-eval's tasks, prompts, filters and metrics over our engine sessions; the only file that
imports lm_eval.

Requests are built and tokenized once per tokenizer and scored for every candidate that uses it,
for all tasks in one batch. What a response is worth is decided by the lm-eval task alone.
"""

import contextlib
import functools
import hashlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.task import Task as LmEvalTask
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from lm_eval.tasks import TaskManager
from lm_eval.utils import env as template_environment
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from harness.contracts import Session
from harness.errors import HarnessError
from harness.jobs import TaskResult
from harness.records import SampleColumns, Task
from harness.requests import Completion, Generation, Request, Score

DEFAULT_MAX_NEW_TOKENS = 256
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)
FEWSHOT_SEED = 1234
"""lm-eval's own default: with seed 0 the shots are those of its command line."""

# lm-eval compiles a task's template anew for each row, which is four fifths of building requests.
template_environment.from_string = functools.cache(template_environment.from_string)


class SessionLM(TemplateLM):
    """An engine session as lm-eval sees a model; also usable with `lm_eval.simple_evaluate`."""

    def __init__(self, engine: Session, tokenizer: PreTrainedTokenizerBase, seed: int = 0) -> None:
        super().__init__()
        self.engine = engine
        self.tokenizer = tokenizer
        self.seed = seed
        self._token_ids: dict[tuple[str, bool | None], list[int]] = {}
        self._requests: dict[tuple[str, str], Request] = {}
        self._settings: dict[str, Generation] = {}

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
        """Tokenize what is new in one go: string by string takes many times as long."""
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
        window = self.engine.max_model_len - 1  # the engine adds one token to every prompt
        scored = [_clip(self._request(*pair), window) for pair in pairs]
        return [(score.logprob, score.greedy) for score in self.engine.score(scored)]

    def _loglikelihood_tokens(self, *_: Any, **__: Any) -> list[tuple[float, bool]]:
        raise AssertionError("`loglikelihood` does it")

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
            self._generation(*request.args, draw=draw) for draw, request in enumerate(requests)
        ]
        completions = self.engine.generate(generations)
        return [
            postprocess_generated_text(completion.text, list(generation.stop), None)
            for completion, generation in zip(completions, generations, strict=True)
        ]

    def _generation(self, context: str, gen_kwargs: dict[str, Any], *, draw: int) -> Generation:
        key = repr(gen_kwargs)  # a task's requests have equal ones, each a copy
        if key not in self._settings:
            self._settings[key] = self._normalized(gen_kwargs)
        settings = self._settings[key]
        max_tokens = min(settings.max_tokens, self.engine.max_model_len - 1)
        return settings._replace(
            prompt=tuple(self.tok_encode(context)[max_tokens - self.engine.max_model_len :]),
            max_tokens=max_tokens,
            # Repeats of one prompt must differ, and a run must repeat.
            seed=None if settings.seed is None else settings.seed + draw,
        )

    def _normalized(self, gen_kwargs: dict[str, Any]) -> Generation:
        """What is asked for, of any prompt; with the seed of the first draw where it samples."""
        kwargs = normalize_gen_kwargs(gen_kwargs, DEFAULT_MAX_NEW_TOKENS)
        eos = self.tokenizer.decode(self.eot_token_id)
        return Generation(
            prompt=(),
            max_tokens=kwargs["max_gen_toks"],
            stop=tuple(handle_stop_sequences(list(kwargs["until"]), eos=eos)),
            temperature=float(kwargs.get("temperature") or 0.0),
            top_p=float(kwargs.get("top_p") or 1.0),
            top_k=int(kwargs.get("top_k") or 0),
            seed=self.seed * 1_000_003 if kwargs.get("do_sample") else None,
        )


class Examination:
    """The tasks of a run with their requests, for every candidate of one tokenizer."""

    def __init__(
        self,
        tasks: Mapping[str, tuple[Task, Sequence[Any]]],
        tokenizer_path: Path,
        *,
        limit: int | None,
        seed: int,
    ) -> None:
        """`tasks`: name -> (our entry, its sources: task names, or configurations by path)."""
        self.tokenizer_key = tokenizer_key(tokenizer_path)
        self._tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
        self._lm = SessionLM(_NoEngine(), self._tokenizer, seed)
        self._tasks = {
            name: _Task(task, _load(task, sources, self._lm, limit=limit, seed=seed))
            for name, (task, sources) in tasks.items()
        }

    def evaluate(self, engine: Session, names: Sequence[str]) -> Iterator[TaskResult]:
        """Score the named tasks, all requests of one kind in one call to the engine."""
        self._lm.engine = engine
        instances: dict[str, list[Instance]] = defaultdict(list)
        for name in names:
            for part in self._tasks[name].parts:
                for instance in part.instances:
                    instance.resps, instance.filtered_resps = [], {}
                    instances[instance.request_type].append(instance)
        for request_type, batch in instances.items():
            self._respond(request_type, batch)
        for name in names:
            yield self._tasks[name].result()

    def _respond(self, request_type: str, instances: Sequence[Instance]) -> None:
        repeated = [one for one in instances for _ in range(one.repeats or 1)]
        responses = getattr(self._lm, request_type)(repeated)
        for instance, response in zip(repeated, responses, strict=True):
            instance.resps.append(response)


def tokenizer_key(path: Path) -> str:
    """Of the files that a tokenizer is loaded from: equal where its requests are."""
    digest = hashlib.sha256()
    for name in TOKENIZER_FILES:
        if (path / name).is_file():
            digest.update(name.encode() + (path / name).read_bytes())
    return digest.hexdigest()


class _NoEngine:
    """Stands in while requests are built, before any engine is there."""

    max_model_len = 0

    def score(self, requests: Sequence[Request]) -> list[Score]:
        raise AssertionError("no engine yet")

    def generate(self, generations: Sequence[Generation]) -> list[Completion]:
        raise AssertionError("no engine yet")


def _load(
    task: Task, sources: Sequence[Any], lm: SessionLM, *, limit: int | None, seed: int
) -> list[LmEvalTask]:
    """The lm-eval tasks behind an entry: one, or the parts of a whole such as mmlu."""
    parts = [part for source in sources for part in _from_source(source)]
    for part in parts:
        shots = task.num_fewshot
        if shots is None:
            shots = part.get_config("num_fewshot") or 0
        part.set_config(key="num_fewshot", value=shots)
        part.set_fewshot_seed(seed=FEWSHOT_SEED + seed)
        part.doc_to_target = _remembered(part.doc_to_target)
        part.doc_to_choice = _remembered(part.doc_to_choice)
        with _quiet():
            part.build_all_requests(
                limit=limit,
                apply_chat_template=task.chat,
                fewshot_as_multiturn=task.chat,
                chat_template=lm.apply_chat_template if task.chat else None,
                tokenizer_name=lm.tokenizer_name if task.chat else "",
            )
    return parts


def _remembered(of_doc: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What lm-eval renders anew at each call; it depends on the doc and not on the model."""
    known: dict[int, Any] = {}

    def remembered(doc: Any, *arguments: Any) -> Any:
        if arguments:
            return of_doc(doc, *arguments)
        if id(doc) not in known:  # the requests keep their docs, so an id stays that doc's
            known[id(doc)] = of_doc(doc)
        return known[id(doc)]

    return remembered


def _from_source(source: str | dict[str, Any]) -> list[LmEvalTask]:
    if isinstance(source, str):  # a bare name needs lm-eval's index of all its tasks
        return list(TaskManager().load([source])["tasks"].values())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.yaml"
        path.write_text(yaml.safe_dump(source))
        return list(TaskManager(include_defaults=False).load([str(path)])["tasks"].values())


class _Example(NamedTuple):
    """What of an example is the same for every candidate."""

    doc: dict[str, Any]
    instances: Sequence[Instance]
    prompt: str
    target: str
    choices: Sequence[str]
    """Empty for generation."""
    cluster: str


class _Task:
    """An entry of the registry over its parts in lm-eval, with the responses of one candidate."""

    def __init__(self, entry: Task, parts: Sequence[LmEvalTask]) -> None:
        self.entry = entry
        self.parts = parts

    def result(self) -> TaskResult:
        """What lm-eval makes of the responses."""
        task, values = self.entry, defaultdict[str, list[float]](list)
        rows: list[tuple[Any, ...]] = []
        for part, examples in zip(self.parts, self._examples, strict=True):
            part.apply_filters()
            for example in examples:
                for name in example.instances[0].filtered_resps:
                    responses = [one.filtered_resps[name] for one in example.instances]
                    metrics = part.process_results(example.doc, responses)
                    for metric, value in metrics.items():
                        if isinstance(value, int | float):
                            key = metric if name == task.filter else f"{metric},{name}"
                            values[key].append(float(value))
                    score = metrics.get(task.primary_metric) if name == task.filter else None
                    if isinstance(score, int | float):
                        rows.append(_sample(example, responses, float(score)))
        return TaskResult(task.name, values, SampleColumns.of(rows))

    @functools.cached_property
    def _examples(self) -> Sequence[Sequence[_Example]]:
        """Of each part."""
        return [[self._example(part, *of_doc) for of_doc in _by_doc(part)] for part in self.parts]

    def _example(
        self, part: LmEvalTask, doc: dict[str, Any], instances: Sequence[Instance]
    ) -> _Example:
        target = part.doc_to_target(doc)
        choices = part.doc_to_choice(doc) if part.OUTPUT_TYPE == "multiple_choice" else ()
        named = choices and isinstance(target, int) and target >= 0
        return _Example(
            doc=doc,
            instances=instances,
            prompt=str(instances[0].args[0]),
            target=str(choices[target]) if named else str(target),
            choices=[str(choice) for choice in choices],
            cluster=_cluster(self.entry, doc),
        )


def _cluster(task: Task, doc: Mapping[str, Any]) -> str:
    """What the example shares with others that are not independent of it.

    Raises:
        HarnessError: the examples have no such column.
    """
    if task.cluster_by and task.cluster_by not in doc:
        raise HarnessError(
            f"{task.name}: cluster_by={task.cluster_by!r}, but its examples have no such column; "
            f"they have {', '.join(doc)}."
        )
    return str(doc[task.cluster_by]) if task.cluster_by else ""


def _by_doc(part: LmEvalTask) -> Iterator[tuple[dict[str, Any], list[Instance]]]:
    by_doc: dict[int, list[Instance]] = defaultdict(list)
    for instance in part.instances:
        by_doc[instance.doc_id].append(instance)
    for instances in by_doc.values():
        instances.sort(key=lambda instance: instance.idx)
        yield instances[0].doc, instances


def _sample(example: _Example, responses: Sequence[Any], score: float) -> tuple[Any, ...]:
    """A row of `SampleColumns`."""
    response, logprobs = responses[0], None
    if example.choices:
        logprobs = tuple(float(one[0]) for one in responses[: len(example.choices)])
        response = example.choices[max(range(len(logprobs)), key=logprobs.__getitem__)]
    return example.prompt, example.target, str(response), logprobs, score, example.cluster


def _clip(request: Request, window: int) -> Request:
    """The last `window` tokens, as lm-eval's own backends keep them."""
    context, continuation = request
    if len(context) + len(continuation) <= window:
        return request
    kept = (context + continuation)[-window:]
    at = max(1, len(kept) - len(continuation))
    return Request(kept[:at], kept[at:])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval draws a progress bar per task while it builds requests."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield
