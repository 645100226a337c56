"""Packs documents into rows of equal length.

Each row begins with a document, as prompts do. A document that does not fit waits for the next row;
the rest of a row is padding, which has no loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from tokenizers import Tokenizer
from torch import Tensor

from melange.tasks.pocket.corpus import Document
from melange.tasks.pocket.tokens import EOS, PAD

IGNORED = -100  # the label that cross-entropy leaves out
CHUNK_DOCUMENTS = 1024
LOOK_AHEAD = 24  # documents tried to fill the end of a row

Encoded = tuple[list[int], list[int]]  # tokens and labels of one document


def batches(
    documents: Iterator[Document],
    tokenizer: Tokenizer,
    *,
    batch_tokens: int,
    row_tokens: tuple[int, ...],
    answers_only: bool,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (tokens, labels), both [rows, row length], cycling through the row lengths."""
    encoded = _encode(documents, tokenizer, answers_only)
    pad = _special_token(tokenizer, PAD)
    waiting = list(islice(encoded, LOOK_AHEAD))
    while True:
        for length in row_tokens:
            rows = [_fill_row(waiting, encoded, length) for _ in range(batch_tokens // length)]
            tokens = [row + [pad] * (length - len(row)) for row, _ in rows]
            labels = [row + [IGNORED] * (length - len(row)) for _, row in rows]
            yield torch.tensor(tokens), torch.tensor(labels)


def _encode(
    documents: Iterator[Document], tokenizer: Tokenizer, answers_only: bool
) -> Iterator[Encoded]:
    end = _special_token(tokenizer, EOS)
    while True:
        chunk = list(islice(documents, CHUNK_DOCUMENTS))
        prompts = tokenizer.encode_batch_fast([document.prompt for document in chunk])
        answers = tokenizer.encode_batch_fast([document.answer for document in chunk])
        for prompt, answer in zip(prompts, answers, strict=True):
            learnt = [*answer.ids, end]
            context = [IGNORED] * len(prompt.ids) if answers_only else prompt.ids
            yield [*prompt.ids, *learnt], [*context, *learnt]


def _fill_row(
    waiting: list[Encoded], encoded: Iterator[Encoded], length: int
) -> tuple[list[int], list[int]]:
    tokens: list[int] = []
    labels: list[int] = []
    while (index := _first_fit(waiting, length - len(tokens))) is not None:
        document_tokens, document_labels = waiting.pop(index)
        tokens += document_tokens
        labels += document_labels
        waiting.append(next(encoded))
    assert tokens, f"no document fits a row of {length} tokens"
    return tokens, labels


def _first_fit(waiting: list[Encoded], room: int) -> int | None:
    return next((i for i, (tokens, _) in enumerate(waiting) if len(tokens) <= room), None)


def _special_token(tokenizer: Tokenizer, token: str) -> int:
    found: int | None = tokenizer.token_to_id(token)
    assert found is not None, f"the tokenizer has no {token}"
    return found
