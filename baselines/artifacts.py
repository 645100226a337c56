"""Checkpoint folders of candidates: built once, kept under the hash of what they are made from."""

import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

from melange.baselines.cache import cache_dir
from melange.baselines.catalog import methods
from melange.baselines.checkpoints import inspect
from melange.baselines.checksums import folder_hash
from melange.baselines.configs import read_config
from melange.baselines.layouts import expected_shapes
from melange.baselines.states import checked_state, write_state
from melange.baselines.weight_files import read_json
from melange.harness.contracts import Builder, Combiner, Method, Streamer
from melange.harness.errors import HarnessError
from melange.harness.records import Candidate, Weights

if TYPE_CHECKING:
    from torch import Tensor

DONE = "done.json"
LIBRARIES = ("mergekit", "torch", "transformers")
SHARED_CODE = (
    "tensors.py",
    "states.py",
    "checkpoints.py",
    "compatibility.py",
    "configs.py",
    "parameters.py",
    "weight_files.py",
    "averaging/arithmetic.py",
)


def artifact(
    candidate: Candidate, inputs: Mapping[str, Path], fingerprints: Mapping[str, str]
) -> Path:
    """The checkpoint folder of a `Weights` candidate, built if the cache lacks it.

    `inputs` and `fingerprints` are by role; absolute folders of the recipe need not be in them.

    Raises:
        HarnessError: an input is missing or does not fit, or the result holds NaN, infinities or
            other tensors than its config.json promises.
    """
    recipe = candidate.recipe
    assert isinstance(recipe, Weights), f"{candidate.name} has no weights of its own"
    folders = input_folders(candidate.name, recipe, inputs)
    method = methods()[recipe.method]
    if not hasattr(method, "build") and not hasattr(method, "tensors"):
        return folders[recipe.inputs[0]]
    prints = {
        role: fingerprints.get(role) or folder_hash(folder) for role, folder in folders.items()
    }
    key = content_hash(recipe, prints, implementation(method))
    path = cache_dir() / "artifacts" / f"{folder_name(candidate.name)}-{key}"
    if not (path / DONE).is_file():
        build(candidate.name, cast(Builder, method), recipe, folders, prints, path)
    return path


def check_recipe(recipe: Weights, folders: Mapping[str, Path]) -> None:
    """What building would refuse, of the inputs that are there already, from their headers alone.

    Raises:
        HarnessError: they do not fit each other or the method.
    """
    method = methods()[recipe.method]
    if hasattr(method, "check"):
        cast(Combiner, method).check(recipe, folders)


def streamed_like(recipe: Weights) -> str | None:
    """The input whose shapes the result has, if it can flow into an engine that runs that input."""
    method = methods()[recipe.method]
    return cast(Streamer, method).like(recipe) if hasattr(method, "tensors") else None


def stream(name: str, recipe: Weights, folders: Mapping[str, Path]) -> "dict[str, Tensor]":
    """The state that the recipe yields, in memory.

    Raises:
        HarnessError: an input does not fit, or the result is not a whole state of finite numbers.
    """
    method = cast(Streamer, methods()[recipe.method])
    role = method.like(recipe)
    assert role is not None, f"{name} cannot be streamed"
    return checked_state(name, method.tensors(recipe, folders), folders[role])


def folder_name(candidate: str) -> str:
    return re.sub(r"[^\w.@-]", "_", candidate)


def build_seconds(path: Path) -> float | None:
    """Seconds that building the folder took; None for a checkpoint that was not built here."""
    if not (path / DONE).is_file():
        return None
    return float(read_json(path / DONE)["build_sec"])


def input_folders(name: str, recipe: Weights, inputs: Mapping[str, Path]) -> dict[str, Path]:
    folders = {}
    for role in recipe.inputs:
        if role not in inputs and not Path(role).is_absolute():
            raise HarnessError(f"{name}: no checkpoint for {role!r}; choose a zoo that has it.")
        folders[role] = Path(inputs.get(role, role)).absolute()
    return folders


def content_hash(recipe: Weights, fingerprints: Mapping[str, str], code: str) -> str:
    content = [recipe.model_dump(mode="json"), sorted(fingerprints.items()), code]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def implementation(method: Method) -> str:
    """Hash of the code beside a method and of the libraries' versions: new code, new artifacts."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    parts = type(method).__module__.removeprefix(f"{__package__}.").split(".")[:-1]
    own = set(root.joinpath(*parts).glob("*.py"))
    for file in sorted(own | {root / name for name in SHARED_CODE}):
        digest.update(file.read_bytes())
    digest.update(" ".join(version(library) for library in LIBRARIES).encode())
    return digest.hexdigest()


def build(
    name: str,
    method: Builder,
    recipe: Weights,
    folders: Mapping[str, Path],
    fingerprints: Mapping[str, str],
    path: Path,
) -> None:
    """Build beside `path`, check, then rename: a folder under its name is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        start = time.perf_counter()
        if (role := streamed_like(recipe)) is not None:
            write_state(stream(name, recipe, folders), folders[role], scratch)
        else:
            method.build(recipe, folders, scratch)
            check_result(name, scratch)
        done = {
            "build_sec": time.perf_counter() - start,
            "inputs": dict(fingerprints),
            "recipe": recipe.model_dump(mode="json"),
        }
        (scratch / DONE).write_text(json.dumps(done, indent=2), encoding="utf-8")
        accept(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def accept(scratch: Path, path: Path) -> None:
    scratch.chmod(0o755)  # mkdtemp's folders are private; a cache may be shared.
    if path.exists() and not (path / DONE).is_file():
        shutil.rmtree(path)
    try:
        scratch.rename(path)
    except OSError:
        # Another process has built the same artifact meanwhile.
        if not (path / DONE).is_file():
            raise


def check_result(name: str, path: Path) -> None:
    from melange.baselines.tensors import first_non_finite

    info = inspect(path)
    expected = expected_shapes(read_config(path)) or {}
    for tensor, shape in expected.items():
        if tensor not in info.shapes:
            raise HarnessError(f"{name}: {tensor} is missing in the result; check the recipe.")
        if info.shapes[tensor] != shape:
            raise HarnessError(
                f"{name}: {tensor} is {list(info.shapes[tensor])} in the result, its config.json "
                f"needs {list(shape)}; check the recipe."
            )
    broken = first_non_finite(path)
    if broken:
        raise HarnessError(
            f"{name}: {broken} holds NaN or infinity; merge with smaller weights or in float32."
        )
