"""What vLLM fails at, or computes wrongly in silence. Without torch, since plans ask.

Each limit was observed with vLLM 0.32, against transformers.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

CPU_HEAD_SIZES = (32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Head sizes that its attention is compiled for: 48 and those of `CPUAttentionBackend`. With others
vLLM fails at the first step."""
CPU_KV_CACHE_DTYPES = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")
"""`CPUAttentionBackend.supported_kv_cache_dtypes`; vLLM accepts any name, and computes garbage."""
CPU_LACKS = {
    "FalconMambaForCausalLM": "Mamba's scan",
    "JambaForCausalLM": "Mamba's scan",
    "MambaForCausalLM": "Mamba's scan",
    "FalconH1ForCausalLM": "Mamba 2's states",
    "GraniteMoeHybridForCausalLM": "Mamba 2's states",
    "Mamba2ForCausalLM": "Mamba 2's states",
    "NemotronHForCausalLM": "Mamba 2's states",
    "Zamba2ForCausalLM": "Mamba 2's states",
}
QWEN = ("Qwen2ForCausalLM", "Qwen3ForCausalLM")
LATENT = "kv_lora_rank"
"""Key of models with latent attention (DeepSeek's MLA)."""


class Asked(NamedTuple):
    config: Mapping[str, Any]
    device: str
    dtype: str
    kv_cache_dtype: str
    max_model_len: int

    @property
    def architecture(self) -> str:
        return str((self.config.get("architectures") or [""])[0])

    @property
    def rope(self) -> Mapping[str, Any]:
        """Rotary settings, in the form of transformers before 5 or since."""
        settings = self.config.get("rope_parameters") or self.config.get("rope_scaling") or {}
        return settings if isinstance(settings, Mapping) else {}

    @property
    def rope_type(self) -> str:
        return str(self.rope.get("rope_type") or self.rope.get("type") or "default")

    @property
    def positions(self) -> int:
        return int(self.config.get("max_position_embeddings") or self.max_model_len)


def unserved(
    config: Mapping[str, Any],
    *,
    device: str,
    dtype: str,
    kv_cache_dtype: str = "auto",
    max_model_len: int | None = None,
) -> str:
    """Why a model with this config.json is not served correctly; empty if it is.

    `config` has the language model's keys under their common names. `dtype` is what the engine
    computes in, `max_model_len` the context in tokens; the model's own if there is none.
    """
    context = max_model_len or int(config.get("max_position_embeddings") or 0)
    asked = Asked(config, device, dtype, kv_cache_dtype, context)
    checks = [*EVERYWHERE, *(ON_A_CPU if device == "cpu" else ())]
    return next((reason for check in checks if (reason := check(asked))), "")


def _dynamic_rope(asked: Asked) -> str:
    """vLLM uses one rotary base for all lengths, transformers one per length; past the end of its
    table of positions vLLM reads arbitrary memory."""
    if asked.rope_type != "dynamic" or "alpha" in asked.rope:
        return ""
    trained = asked.rope.get("original_max_position_embeddings") or asked.positions
    fixed = asked.rope.get("max_trained_positions")
    if fixed is not None and fixed < asked.positions:
        return (
            f"rope_type dynamic with max_trained_positions={fixed}: the engine scales short "
            "prompts too, transformers does not; use rope_type linear or yarn"
        )
    return _too_long(asked, "rope_type dynamic", trained)


def _long_rope(asked: Asked) -> str:
    """vLLM uses the long factors for every prompt if the engine has a long context."""
    if asked.rope_type not in ("longrope", "su"):
        return ""
    trained = asked.rope.get("original_max_position_embeddings") or asked.config.get(
        "original_max_position_embeddings"
    )
    return _too_long(asked, f"rope_type {asked.rope_type}", trained or asked.positions)


def _window_and_one(asked: Asked) -> str:
    """vLLM lets Command-R7B's sliding layers see one token more than transformers does."""
    window = asked.config.get("sliding_window")
    if asked.architecture != "Cohere2ForCausalLM" or not window:
        return ""
    return _too_long(asked, f"sliding_window={window} of Cohere2ForCausalLM", window)


def _too_long(asked: Asked, what: str, limit: int) -> str:
    if asked.max_model_len <= limit:
        return ""
    return (
        f"{what}: the engine is right up to {limit} tokens of context, not up to "
        f"{asked.max_model_len}; use a max_model_len of at most {limit}"
    )


def _expert_weights(asked: Asked) -> str:
    if asked.architecture != "OlmoeForCausalLM" or not asked.config.get("norm_topk_prob"):
        return ""
    return (
        "norm_topk_prob=true: the engine leaves the weights of OlmoeForCausalLM's experts as they "
        "are; use a checkpoint without it"
    )


def _some_windows(asked: Asked) -> str:
    """vLLM's Qwen2Model, which Qwen3's is too."""
    config, layers = asked.config, asked.config.get("num_hidden_layers")
    full = config.get("max_window_layers", layers)
    types = set(config.get("layer_types") or ())
    windows = config.get("use_sliding_window") and config.get("sliding_window")
    mixed = len(types) > 1 or (not types and windows and full != 0)
    if not mixed or full == layers is not None or asked.architecture not in QWEN:
        return ""
    return (
        f"max_window_layers={full} of {asked.architecture}: the engine has a sliding window for "
        "all layers or for none; use a checkpoint with one of the two"
    )


def _head_size(asked: Asked) -> str:
    size = head_size(asked.config)
    if size is None or size in CPU_HEAD_SIZES or asked.config.get(LATENT):
        return ""
    return (
        f"heads of {size}: attention on a CPU has {', '.join(map(str, CPU_HEAD_SIZES))}; use a GPU"
    )


def head_size(config: Mapping[str, Any]) -> int | None:
    """The attention's head size; None for a model without attention."""
    if config.get("head_dim"):
        return int(config["head_dim"])
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    return int(width) // int(heads) if width and heads else None


def _kernels(asked: Asked) -> str:
    lacking = CPU_LACKS.get(asked.architecture)
    if lacking is None:
        return ""
    return f"{asked.architecture}: the engine fails at {lacking} on a CPU; use a GPU"


def _needs_bfloat16(asked: Asked) -> str:
    """Kernels that exist on a CPU only in bfloat16."""
    linear = "linear_attention" in (asked.config.get("layer_types") or ())
    linear |= asked.architecture == "Qwen3NextForCausalLM"
    kind = "latent attention" if asked.config.get(LATENT) else "linear attention" if linear else ""
    if not kind or asked.dtype == "bfloat16":
        return ""
    return (
        f"{kind} of {asked.architecture} in {asked.dtype}: the engine computes it in bfloat16 "
        "alone on a CPU; use dtype bfloat16"
    )


def _cache(asked: Asked) -> str:
    name = asked.kv_cache_dtype
    if name != asked.dtype and name not in CPU_KV_CACHE_DTYPES:
        return (
            f"kv_cache_dtype={name}: the engine takes it on a CPU and computes garbage; "
            f"use one of {', '.join(CPU_KV_CACHE_DTYPES)}"
        )
    size = head_size(asked.config)
    if name.startswith("fp8") and size is not None and size % 32:
        return (
            f"kv_cache_dtype={name} with heads of {size}: a CPU needs heads divisible by 32; "
            "use auto"
        )
    return ""


Check = Callable[[Asked], str]
EVERYWHERE: tuple[Check, ...] = (
    _dynamic_rope,
    _long_rope,
    _window_and_one,
    _expert_weights,
    _some_windows,
)
ON_A_CPU: tuple[Check, ...] = (_kernels, _needs_bfloat16, _head_size, _cache)
