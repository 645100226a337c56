"""The memory that an engine has reserved for keys and values."""

from typing import Any


def pool_bytes(llm: Any) -> int:
    """Bytes of the pool. The engine must run in this process."""
    return sum(llm.collective_rpc(_allocated))


def _allocated(worker: Any) -> int:
    # From the tensors themselves, since vLLM's own records differ between versions. Layers may
    # share an allocation.
    storages = [cache.untyped_storage() for cache in worker.model_runner.kv_caches]
    return sum({one.data_ptr(): int(one.nbytes()) for one in storages}.values())
