"""How much memory an engine has set aside for keys and values."""

from typing import Any


def pool_bytes(llm: Any) -> int:
    """Bytes of the pool. It needs the engine in this process."""
    return sum(llm.collective_rpc(_allocated))


def _allocated(worker: Any) -> int:
    # Of the tensors themselves: what vLLM plans is written down otherwise in each version. Layers
    # may lie in one allocation.
    storages = [cache.untyped_storage() for cache in worker.model_runner.kv_caches]
    return sum({one.data_ptr(): int(one.nbytes()) for one in storages}.values())
