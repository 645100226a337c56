"""Requests that a small model decodes together, and the keys and values they have left.

The cache is transformers' own, filled as its `generate` fills it: rows end together and are padded
on the left, so that a row's last token is in its batch's last column, whatever kind of attention a
layer has. Rows join and leave between two steps, by copies. Shape letters: R rows, H key-value
heads, W columns that a layer keeps, D head size, V vocabulary.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

COLUMN_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)
"""They keep a column for each token, or for the last ones, and nothing besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that were computed together, and what the model says comes next."""

    slots: Sequence[int]
    num_tokens: Sequence[int]
    """Of each row. The cache is as long as the longest."""
    cache: DynamicCache | None
    """None where rows are computed from their first token at every step."""
    logits_RV: Tensor


@dataclass(frozen=True, slots=True)
class Picked:
    """Rows of a batch that has a cache, each once."""

    batch: Batch
    rows: list[int]

    @property
    def is_whole(self) -> bool:
        return len(self.rows) == len(self.batch.slots)


def new_cache(config: Any) -> DynamicCache | None:
    """For the model with this config; None where a layer keeps more than keys and values.

    Recurrent states are no columns: padding goes into them, and rows cannot join.
    """
    cache = DynamicCache(config=config)
    return cache if all(type(layer) in COLUMN_LAYERS for layer in cache.layers) else None


def join_caches(parts: Sequence[Picked]) -> DynamicCache:
    """The rows of all parts, one part after the other, as long as the longest row.

    Changes no batch's cache; it may be the cache of a batch that is picked as a whole.
    """
    caches = [part.batch.cache for part in parts if part.batch.cache is not None]
    if len(parts) == 1 and parts[0].is_whole:
        return caches[0]
    length = max(part.batch.num_tokens[row] for part in parts for row in part.rows)
    joined = copy.copy(caches[0])
    each = zip(*(cache.layers for cache in caches), strict=True)
    joined.layers = [_join_layers(layers, parts, length) for layers in each]
    return joined


def _join_layers(layers: Sequence[Any], parts: Sequence[Picked], length: int) -> Any:
    joined = copy.copy(layers[0])
    if joined.is_initialized:  # a layer that looks at an earlier one's keys has none
        joined.keys = _lay_out([layer.keys for layer in layers], parts, length)
        joined.values = _lay_out([layer.values for layer in layers], parts, length)
    if isinstance(joined, DynamicSlidingWindowLayer):
        joined.cumulative_length = length
    return joined


def _lay_out(held: Sequence[Tensor], parts: Sequence[Picked], length: int) -> Tensor:
    """The picked rows of tensors [R, H, W, D], below each other, with their last columns in line.

    A layer keeps all columns or those in its window, so the widest of `held` says how many.
    """
    width = min(length, max(one.shape[2] for one in held))
    _, heads, _, size = held[0].shape
    laid_out = held[0].new_zeros(sum(len(part.rows) for part in parts), heads, width, size)
    first = 0
    for one_RHWD, part in zip(held, parts, strict=True):
        taken, last = min(width, one_RHWD.shape[2]), first + len(part.rows)
        rows = slice(None) if part.is_whole else torch.tensor(part.rows, device=one_RHWD.device)
        laid_out[first:last, :, width - taken :] = one_RHWD[rows, :, one_RHWD.shape[2] - taken :]
        first = last
    return laid_out
