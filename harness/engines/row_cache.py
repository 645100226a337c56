"""Requests that a small model decodes together, with their keys and values.

The cache is transformers' own, filled as its `generate` fills it: rows end together and are padded
on the left, so that a row's last token is in its batch's last column, whatever kind of attention a
layer has. Rows join and leave between two steps. Shape letters: R rows, H key-value heads, W
columns that a layer keeps, D head size, V vocabulary.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from melange.harness.engines.column_layers import FullLayer, WindowLayer

MAX_WASTE = 1.25
"""Columns held for each that is needed, before the rows are worth copying closer together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that were computed together, with the logits of their next tokens."""

    slots: list[int | None]
    """Of each row's request; None once it has left, when another request may take the row."""
    num_tokens: Sequence[int]
    length: int
    """Of the cache, in columns."""
    cache: DynamicCache | None
    """None if rows are computed from their first token at every step."""
    logits_RV: Tensor


class Picked(NamedTuple):
    """Rows of a batch that has a cache."""

    batch: Batch
    rows: list[int]

    @property
    def longest(self) -> int:
        return max(self.batch.num_tokens[row] for row in self.rows)


class Joined(NamedTuple):
    """Rows of several batches, by their slots, as one."""

    slots: list[int | None]
    length: int
    cache: DynamicCache


def new_cache(config: Any) -> DynamicCache | None:
    """For the model with this config; None where a layer keeps more than keys and values.

    Recurrent states are no columns: padding goes into them, and rows cannot join.
    """
    cache = DynamicCache(config=config)
    layers = [_in_place(layer) for layer in cache.layers]
    cache.layers = [layer for layer in layers if layer is not None]
    return cache if len(cache.layers) == len(layers) else None


def _in_place(layer: Any) -> FullLayer | None:
    if type(layer) is DynamicSlidingWindowLayer:
        return WindowLayer(sliding_window=layer.sliding_window)
    return FullLayer() if type(layer) is DynamicLayer else None


def join(parts: Sequence[Picked]) -> Joined:
    """All picked rows in one batch, which takes the place of the batches where they were.

    The others take rows that are free in the largest, if that is not too large for them; else all
    are copied.
    """
    host, *guests = sorted(parts, key=lambda part: -len(part.rows))
    return _take_in(host, guests) if _has_room(host, guests) else _lay_out((host, *guests))


def _has_room(host: Picked, guests: Sequence[Picked]) -> bool:
    held = host.batch
    num_rows = len(host.rows) + sum(len(guest.rows) for guest in guests)
    longest = max(part.longest for part in (host, *guests))
    others_wait = len(host.rows) + held.slots.count(None) < len(held.slots)
    return (
        not others_wait
        and num_rows <= len(held.slots)
        and longest <= held.length
        and len(held.slots) * held.length <= MAX_WASTE * num_rows * longest
    )


def _take_in(host: Picked, guests: Sequence[Picked]) -> Joined:
    held = host.batch
    assert held.cache is not None
    slots = list(held.slots)
    free = [row for row, slot in enumerate(slots) if slot is None]
    for guest in guests:
        places, free = free[: len(guest.rows)], free[len(guest.rows) :]
        _copy_rows(held.cache, places, guest)
        for place, row in zip(places, guest.rows, strict=True):
            slots[place] = guest.batch.slots[row]
    return Joined(slots, held.length, held.cache)


def _lay_out(parts: Sequence[Picked]) -> Joined:
    slots = [part.batch.slots[row] for part in parts for row in part.rows]
    length = max(part.longest for part in parts)
    like = parts[0].batch.cache
    assert like is not None
    joined = copy.copy(like)
    joined.layers = [layer.blank(len(slots), length) for layer in like.layers]
    first = 0
    for part in parts:
        _copy_rows(joined, list(range(first, first + len(part.rows))), part)
        first += len(part.rows)
    return Joined(slots, length, joined)


def _copy_rows(cache: DynamicCache, places: list[int], part: Picked) -> None:
    """The part's rows to these places, their last columns in line with the cache's."""
    assert part.batch.cache is not None
    for layer, source in zip(cache.layers, part.batch.cache.layers, strict=True):
        if isinstance(layer, DynamicLayer) and layer.is_initialized:
            _copy_columns(layer.keys, places, source.keys, part.rows)
            _copy_columns(layer.values, places, source.values, part.rows)


def _copy_columns(
    target_RHWD: Tensor, places: list[int], source_RHWD: Tensor, rows: list[int]
) -> None:
    columns = min(target_RHWD.shape[2], source_RHWD.shape[2])
    first, source_first = target_RHWD.shape[2] - columns, source_RHWD.shape[2] - columns
    target_RHWD[places, :, first:] = source_RHWD[rows, :, source_first:]
