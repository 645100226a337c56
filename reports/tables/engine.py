"""Engine settings of a run's manifest, in words."""

from typing import Any


def computing(settings: dict[str, Any]) -> str:
    """For example `float32, context of 256 tokens, KV cache of 256 MiB`."""
    parts = [f"{settings['dtype']}, context of {settings['max_model_len']:,} tokens"]
    if settings.get("kv_cache_memory_bytes"):
        parts.append(f"KV cache of {settings['kv_cache_memory_bytes'] / 2**20:,.0f} MiB")
    more = ("kv_cache_dtype", "quantization", "gpu_memory_utilization")
    parts += [
        f"{name}={settings[name]}" for name in more if settings.get(name) not in (None, "auto")
    ]
    return ", ".join(parts)
