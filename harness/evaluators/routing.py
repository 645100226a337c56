"""How a mixture routes: which experts a domain's tokens choose, and how often the previous one's.

Jiang et al. 2024, https://arxiv.org/abs/2401.04088, section 5. L layers, T tokens, K experts each.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import comb
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

from melange.harness.contracts import Session
from melange.harness.records import Task
from melange.harness.requests import Route
from melange.harness.row_draws import drawn_rows
from melange.harness.samples import SampleColumns, SampleRow, TaskResult

Floats = NDArray[np.float64]


class Routing:
    """Rows have `prompt` and `answer`; each file is a domain. There is a value per document, so
    that intervals count documents: the tokens of one are not independent."""

    def __init__(
        self,
        tasks: Mapping[str, tuple[Task, Sequence[Any]]],
        tokenizer: Path,
        *,
        limit: int | None,
        seed: int,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._documents = {
            name: list(read_documents(sources, limit, seed=seed))
            for name, (_, sources) in tasks.items()
        }
        self._encode = AutoTokenizer.from_pretrained(tokenizer).encode

    def evaluate(self, session: Session, tasks: Sequence[str]) -> Iterator[TaskResult]:
        for name in tasks:
            documents = self._documents[name]
            texts = [tuple(self._encode(f"{one.prompt} {one.answer}")) for one in documents]
            room = session.max_model_len - 1  # the engine samples one token behind a text
            routes = session.route([text[-room:] for text in texts])
            values: dict[str, list[float]] = defaultdict(list)
            for document, route in zip(documents, routes, strict=True):
                for metric, value in document_values(document.domain, route):
                    values[metric].append(value)
            samples = SampleColumns.of(
                SampleRow(one.prompt, one.answer, "", score)
                for one, score in zip(documents, values["routing_repetition"], strict=True)
            )
            num_cut = sum(len(text) > room for text in texts)
            rows = {"example": [one.row for one in documents]}
            yield TaskResult(name, values, samples, num_cut, rows)


class Document(NamedTuple):
    row: int
    """Counted through all domains."""
    domain: str
    prompt: str
    answer: str


def read_documents(
    sources: Sequence[Any], limit: int | None, *, seed: int = 0
) -> Iterator[Document]:
    """At most `limit` of each domain, drawn by seed."""
    before = 0
    for source in sources:
        for domain, file in source["dataset_kwargs"]["data_files"].items():
            lines = Path(file).read_text().splitlines()
            for at in drawn_rows(len(lines), limit, seed=seed, name=domain):
                row = json.loads(lines[at])
                yield Document(before + at, domain, row["prompt"], row["answer"])
            before += len(lines)


def document_values(domain: str, route: Route) -> Iterator[tuple[str, float]]:
    """By metric: `NAME`, or `NAME/domain/layer`, or `NAME/domain/layer/expert`; layers from 0."""
    first_L, any_L = repetition(route)
    num_chosen = route.chosen_LTK.shape[-1]
    yield "routing_repetition", float(first_L.mean())
    yield "routing_chance", 1 / route.num_experts
    yield "routing_chance_any", chance_of_any(route.num_experts, num_chosen)
    for layer, shares_E in enumerate(expert_shares(route)):
        yield f"routing_repetition/{domain}/{layer}", float(first_L[layer])
        yield f"routing_repetition_any/{domain}/{layer}", float(any_L[layer])
        for expert, share in enumerate(shares_E):
            yield f"routing_share/{domain}/{layer}/{expert}", float(share)


def expert_shares(route: Route) -> Floats:
    """[L, E]: each expert's share of a layer's choices; a layer's shares sum to 1."""
    chosen_LN = route.chosen_LTK.reshape(len(route.chosen_LTK), -1)
    counts = [np.bincount(chosen_N, minlength=route.num_experts) for chosen_N in chosen_LN]
    return np.array(counts) / chosen_LN.shape[1]


def repetition(route: Route) -> tuple[Floats, Floats]:
    """[L] and [L]: the shares of consecutive tokens with the same first choice, and with any choice
    in common."""
    before_LTK, after_LTK = route.chosen_LTK[:, :-1], route.chosen_LTK[:, 1:]
    first_LT = before_LTK[..., 0] == after_LTK[..., 0]
    common_LT = (before_LTK[..., :, None] == after_LTK[..., None, :]).any(axis=(-1, -2))
    return first_LT.mean(axis=1), common_LT.mean(axis=1)


def chance_of_any(num_experts: int, num_chosen: int) -> float:
    """Probability that two random choices of `num_chosen` experts have one in common."""
    return 1 - comb(num_experts - num_chosen, num_chosen) / comb(num_experts, num_chosen)
