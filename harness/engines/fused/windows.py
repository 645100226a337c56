"""Sliding windows of a fused model's members.

A window is in the attention of a layer and in its cache. The attention is a matter of the layer
alone. The cache is one for all layers, and vLLM keeps layers of several widths in it only where
all of them are of one kind; so those with a window keep what lies behind it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from transformers import PreTrainedConfig
from vllm.config import CacheConfig
from vllm.model_executor.layers.attention import Attention


@contextmanager
def window_of(member: PreTrainedConfig, cache: CacheConfig) -> Iterator[None]:
    """Build the layers of this member with its own window.

    Layers that have none of their own by `layer_types` take the cache's, which vLLM has from the
    config of the whole model.
    """
    before, cache.sliding_window = cache.sliding_window, _window(member)
    try:
        yield
    finally:
        cache.sliding_window = before


def keep_all_pages(member: nn.Module) -> None:
    """The layers ask for a cache of all tokens. What they attend to has been decided before."""
    for layer in member.modules():
        if isinstance(layer, Attention):
            layer.sliding_window = None


def _window(member: PreTrainedConfig) -> int | None:
    """Of all layers; as vLLM reads it from the config of a model that is not fused."""
    types = getattr(member, "layer_types", None) or []
    if any(one != "sliding_attention" for one in types):
        return None
    return getattr(member, "sliding_window", None) or None
