"""Makes an lm-eval task ask drawn rows only, with the prompts that they have among all rows."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lm_eval.api.samplers import ContextSampler
from lm_eval.api.task import Task as LmEvalTask

from melange.harness.row_draws import drawn_rows


def ask_rows(part: LmEvalTask, *, limit: int | None, seed: int, first: int) -> int:
    """Let requests be built for these rows, numbered from `first` on; returns the number of all.

    lm-eval's own `samples` reads every row, and numbers anew those that it keeps.
    """
    docs = part.eval_docs
    if not hasattr(docs, "__len__"):
        docs = list(docs)
    rows = drawn_rows(len(docs), limit, seed=seed, name=part.task_name)

    def doc_iterator(**_: Any) -> Iterator[tuple[int, Any]]:
        some = len(rows) < len(docs)
        for row, doc in zip(rows, (docs[row] for row in rows) if some else docs, strict=True):
            yield first + row, doc

    part.doc_iterator = doc_iterator
    sampler: Any = getattr(part, "sampler", None)
    if len(rows) < len(docs) and type(sampler) is ContextSampler:
        sampler.sample = _as_among_all(sampler, rows)
    return len(docs)


def _as_among_all(sampler: ContextSampler, rows: Sequence[int]) -> Callable[..., Any]:
    """Draws shots for these rows as if the others had drawn theirs between them, so that a row has
    the same shots under every limit."""
    sample = sampler.sample
    skipped = iter([row - before - 1 for before, row in zip((-1, *rows), rows, strict=False)])

    def sampled(n: int, eval_doc: Any = None, **options: Any) -> Any:
        drawn = n if eval_doc is None else n + 1
        for _ in range(next(skipped)):
            sampler.rnd.sample(range(len(sampler.fewshot_docs())), drawn)
        return sample(n, eval_doc=eval_doc, **options)

    return sampled
