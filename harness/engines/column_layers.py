"""Layers of transformers' cache that take a step in place.

transformers' own copy all keys and values for each token that they append. Shape letters: R rows,
H key-value heads, W columns that are kept, one for each token, C those with room for more, P
columns to append, D head size.
"""

import copy
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

SPARE_COLUMNS = 64


class Memory(NamedTuple):
    """Where columns are, and how many of it are in use."""

    columns_RHCD: Tensor
    end: int


class FullLayer(DynamicLayer):
    """Keeps every column, as DynamicLayer does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._memory: dict[str, Memory] = {}

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys = self._append("keys", key_states)
        self.values = self._append("values", value_states)
        return self.keys, self.values

    def blank(self, num_rows: int, width: int) -> Self:
        """A layer like this for other rows, all zero."""
        blank = copy.copy(self)
        blank._memory = {}
        if self.is_initialized:  # one that looks at an earlier layer's keys has none
            blank.keys = blank._zeros("keys", num_rows, width)
            blank.values = blank._zeros("values", num_rows, width)
        return blank

    def _zeros(self, name: str, num_rows: int, width: int) -> Tensor:
        like: Tensor = getattr(self, name)
        _, heads, _, size = like.shape
        columns_RHCD = like.new_zeros(num_rows, heads, width + SPARE_COLUMNS, size)
        self._memory[name] = Memory(columns_RHCD, width)
        return columns_RHCD[:, :, :width]

    def _append(self, name: str, new_RHPD: Tensor) -> Tensor:
        """What is kept under this name, and the new columns behind it."""
        held_RHWD: Tensor = getattr(self, name)
        if not held_RHWD.numel():
            # The model may hand out a view, or one tensor twice; rows are written into these.
            return new_RHPD.clone(memory_format=torch.contiguous_format)
        width, num_new = held_RHWD.shape[2], new_RHPD.shape[2]
        columns_RHCD, end = self._memory.get(name) or Memory(held_RHWD, width)
        if end + num_new > columns_RHCD.shape[2]:
            rows, heads, _, size = held_RHWD.shape
            room = width + num_new + SPARE_COLUMNS
            columns_RHCD, end = held_RHWD.new_empty(rows, heads, room, size), width
            columns_RHCD[:, :, :width] = held_RHWD
        columns_RHCD[:, :, end : end + num_new] = new_RHPD
        self._memory[name] = Memory(columns_RHCD, end + num_new)
        return columns_RHCD[:, :, end - width : end + num_new]


class WindowLayer(FullLayer, DynamicSlidingWindowLayer):
    """Keeps the columns that the next token sees, as DynamicSlidingWindowLayer does."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        keys, values = super().update(key_states, value_states)
        self.cumulative_length += key_states.shape[2]
        self.keys = keys[:, :, -self.sliding_window + 1 :]
        self.values = values[:, :, -self.sliding_window + 1 :]
        return keys, values

    def blank(self, num_rows: int, width: int) -> Self:
        blank = super().blank(num_rows, min(width, self.sliding_window - 1))
        blank.cumulative_length = width
        return blank
