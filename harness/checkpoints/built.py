"""Checkpoints that methods build, named by a hash of their inputs; each is complete or absent."""

import hashlib
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from melange.harness.checkpoints.configs import read_config
from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.states import checked_state, write_state
from melange.harness.checkpoints.tensor_shapes import expected_shapes
from melange.harness.checkpoints.weight_files import read_json
from melange.harness.contracts import Builder, Method, StateBuilder
from melange.harness.errors import HarnessError

if TYPE_CHECKING:
    from melange.harness.recipes.weights import Weights

DONE = "done.json"
FOLDER = "artifacts"
LIBRARIES = ("mergekit", "torch", "transformers")

Build = Callable[[Path], None]
"""Builds the folder of this path; it is complete or absent."""


class Made(NamedTuple):
    path: Path
    build: Build | None = None
    """None for a checkpoint that is served as it is."""


def ensure(path: Path, build: Build) -> Path:
    """Build it if it is not complete.

    Raises:
        HarnessError: the inputs do not fit, or the result holds NaN, infinities or other tensors
            than its config.json promises.
    """
    if not is_complete(path):
        build(path)
    return path


def is_complete(path: Path) -> bool:
    return (path / DONE).is_file()


def build_seconds(path: Path) -> float | None:
    """Seconds that building the folder took; None for a checkpoint that no method built: a zoo's
    own were trained, which is another cost."""
    built = path.parent.name == FOLDER and is_complete(path)
    return float(read_json(path / DONE)["build_sec"]) if built else None


def where(root: Path, name: str) -> Path:
    return root / FOLDER / name


@contextmanager
def deleted_at_the_end(root: Path) -> Iterator[None]:
    """Delete what was built below `root` for this run."""
    try:
        yield
    finally:
        shutil.rmtree(root / FOLDER, ignore_errors=True)


def artifact_name(
    candidate: str, recipe: "Weights", fingerprints: Mapping[str, str], method: Method
) -> str:
    """`fingerprints`: of the inputs, by role."""
    key = content_hash(recipe, fingerprints, implementation(method))
    return f"{re.sub(r'[^a-zA-Z0-9_.@-]', '_', candidate)}-{key}"


def content_hash(recipe: "Weights", fingerprints: Mapping[str, str], code: str) -> str:
    content = [recipe.model_dump(mode="json"), sorted(fingerprints.items()), code]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def implementation(method: Method) -> str:
    """Hash of the code beside a method and in this folder, and of the libraries' versions. When it
    changes, artifacts are built again."""
    digest = hashlib.sha256()
    beside = Path(cast(str, sys.modules[type(method).__module__].__file__)).parent
    for file in sorted({*beside.glob("*.py"), *Path(__file__).parent.glob("*.py")}):
        digest.update(file.read_bytes())
    digest.update(" ".join(version(library) for library in LIBRARIES).encode())
    return digest.hexdigest()


class Order(NamedTuple):
    """A checkpoint to build. Plain data and a method, so that it crosses processes."""

    name: str
    method: Builder
    recipe: "Weights"
    folders: Mapping[str, Path]
    fingerprints: Mapping[str, str]
    """Of the inputs, by role."""

    def build(self, path: Path) -> None:
        """Build beside `path`, check the result, then rename it: what has the name is complete."""
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            start = time.perf_counter()
            self._write(scratch)
            done = {
                "build_sec": time.perf_counter() - start,
                "inputs": dict(self.fingerprints),
                "recipe": self.recipe.model_dump(mode="json"),
            }
            (scratch / DONE).write_text(json.dumps(done, indent=2), encoding="utf-8")
            accept(scratch, path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _write(self, out: Path) -> None:
        whole = cast(StateBuilder, self.method)
        role = whole.like(self.recipe) if hasattr(whole, "tensors") else None
        if role is None:
            self.method.build(self.recipe, self.folders, out)
            check_result(self.name, out)
            return
        tensors = whole.tensors(self.recipe, self.folders)
        like = self.folders[role]
        write_state(checked_state(self.name, tensors, like), like, out)


def accept(scratch: Path, path: Path) -> None:
    scratch.chmod(0o755)  # mkdtemp's folders are private; a cache may be shared.
    if path.exists() and not is_complete(path):
        shutil.rmtree(path)
    try:
        scratch.rename(path)
    except OSError:
        # Another process has built the same artifact meanwhile.
        if not is_complete(path):
            raise


def check_result(name: str, path: Path) -> None:
    from melange.harness.checkpoints.tensors import first_non_finite

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
