"""Tensors of a Mixtral assembled from dense models. Imports torch.

L layers, E experts, D the model's width.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from melange.harness.checkpoints.arithmetic import in_dtype, uniform_average
from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.tensor_shapes import kv_heads
from melange.harness.checkpoints.tensors import State, read_tensors

FEED_FORWARD = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}


def mixtral_state(shared: State, experts: Sequence[State], router_LED: Tensor) -> State:
    """Tensors by their names on disk (`block_sparse_moe.experts.N.w1` and so on)."""
    state = dict(shared)
    for index, expert in enumerate(experts):
        for name, tensor in expert.items():
            state[expert_name(name, index)] = tensor
    for layer, router_ED in enumerate(router_LED):
        gate = router_ED.to(next(iter(shared.values())).dtype).contiguous()
        state[f"model.layers.{layer}.block_sparse_moe.gate.weight"] = gate
    return state


def expert_name(dense: str, index: int) -> str:
    """`model.layers.3.mlp.up_proj.weight` becomes `...3.block_sparse_moe.experts.N.w3.weight`."""
    layer, _, rest = dense.partition(".mlp.")
    projection = rest.removesuffix(".weight")
    return f"{layer}.block_sparse_moe.experts.{index}.{FEED_FORWARD[projection]}.weight"


def shared_state(folders: Sequence[Path]) -> State:
    """Everything but the feed-forward blocks: of one model, or the mean of several."""
    names = [name for name in inspect(folders[0]).shapes if ".mlp." not in name]
    mean = uniform_average(read_tensors(folder, names) for folder in folders)
    return in_dtype(mean, inspect(folders[0]).dtype)


def feed_forward_states(folders: Sequence[Path]) -> Iterator[State]:
    for folder in folders:
        yield read_tensors(folder, [name for name in inspect(folder).shapes if ".mlp." in name])


def mixtral_config(
    base: Mapping[str, Any], *, num_experts: int, experts_per_token: int
) -> dict[str, Any]:
    """Mixtral's config.json from a Llama's.

    Llama's defaults are written out, because Mixtral's differ.
    """
    dropped = {"model_type", "architectures", "attention_bias", "mlp_bias", "pretraining_tp"}
    kept = {key: value for key, value in base.items() if key not in dropped}
    if not kept.get("rope_parameters"):
        kept.setdefault("rope_theta", 10000.0)
    return {"rms_norm_eps": 1e-6, "hidden_act": "silu", **kept} | {
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        "num_local_experts": num_experts,
        "num_experts_per_tok": experts_per_token,
        "output_router_logits": False,
        "router_aux_loss_coef": 0.0,
        "num_key_value_heads": kv_heads(base),
        "sliding_window": base.get("sliding_window"),
    }
