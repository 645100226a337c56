"""Which of a checkpoint's tensors are parameters, and how many of them a token uses."""

from collections.abc import Mapping
from typing import Any

from melange.harness.checkpoints.tensor_shapes import Shapes
from melange.harness.checkpoints.weight_files import TensorHeader

HEAD = "lm_head.weight"
INPUT_EMBEDDINGS = (
    "embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight",
)  # fmt: skip
NUM_EXPERTS = (
    "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts",
    "moe_num_routed_experts",
)  # fmt: skip
EXPERTS_PER_TOKEN = (
    "num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_topk", "moe_top_k",
    "moe_k",
)  # fmt: skip


def without_buffers(
    headers: Mapping[str, TensorHeader], common: Mapping[str, Any]
) -> dict[str, TensorHeader]:
    """Only trained tensors: without masks and tables of old files and the copy of a tied head.

    Engines compute such tables and skip them in files, so that they bear on nothing.
    """
    tied = bool(common.get("tie_word_embeddings")) and any(
        name.endswith(INPUT_EMBEDDINGS) for name in headers
    )
    return {
        name: header
        for name, header in headers.items()
        if not is_buffer(name, header) and not (tied and name.endswith(HEAD))
    }


def is_buffer(name: str, header: TensorHeader) -> bool:
    """`rotary_emb.inv_freq`, and the causal masks of GPT-2, GPT-J and GPT-NeoX.

    Those are called `attention.bias` or `attn.bias`, as real biases of one dimension may be.
    """
    if name.endswith((".inv_freq", ".masked_bias", ".causal_mask")):
        return True
    is_mask = len(header.shape) == 4 and header.shape[:2] == (1, 1)
    return is_mask and name.endswith((".attention.bias", ".attn.bias"))


def idle_parameters(common: Mapping[str, Any], shapes: Shapes, weights: Mapping[str, int]) -> int:
    """Parameters of the experts that a token is not sent to. `weights`: how many, by tensor.

    Experts that every token passes (`shared_experts`) are never idle.
    """
    settings = {**common, **(common.get("ffn_config") or {})}  # DBRX nests them
    num_experts = first_number(settings, NUM_EXPERTS)
    used = first_number(settings, EXPERTS_PER_TOKEN)
    if not num_experts or not used:
        return 0
    routed = [name for name, shape in shapes.items() if is_routed(name, shape, num_experts)]
    idle = max(0, num_experts - used)
    return sum(weights[name] for name in routed) * idle // num_experts


def is_routed(name: str, shape: tuple[int, ...], num_experts: int) -> bool:
    """Whether the tensor holds experts. Granite and JetMoE stack all in one, not named so."""
    return ".experts." in name or (len(shape) == 3 and shape[0] == num_experts)


def first_number(settings: Mapping[str, Any], keys: tuple[str, ...]) -> int:
    """The first key's value, 0 if there is none; the first of a list of values by layer."""
    value = next((settings[key] for key in keys if settings.get(key)), 0)
    return int(value[0] if isinstance(value, list) else value)
