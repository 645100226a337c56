"""What a trained zoo is made of, read from YAML and checked before anything is trained.

Nothing here imports torch: a plan that only asks what is ready must answer at once.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError, unknown

REPOSITORY = Path(__file__).resolve().parents[2]
GENERATOR_FILES = (
    "tasks/pocket/lexicon.py",
    "tasks/pocket/world.py",
    "tasks/pocket/corpus.py",
    "tasks/pocket/tokens.py",
    "baselines/zoo/fit.py",
    "baselines/zoo/batches.py",
)
DATA_SETS = ("base", "knowledge", "arithmetic", "instructions", "mix")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The shape of a Llama, or of a Mixtral where `num_experts` is given."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    num_experts: int = 0
    experts_per_token: int = 0
    tied: bool = False
    """One matrix is embedding and head."""

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width // self.heads not in (32, 64):
            raise HarnessError(
                f"zoo size: width {self.width} over {self.heads} heads; "
                "vLLM on a CPU needs a head of 32 or 64"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How one role comes about; `seconds` is what it took where the recipe was written."""

    size: str
    data: str
    steps: int
    peak_learning_rate: float
    seconds: float
    parent: str | None = None
    trajectory_every: int = 0
    leading_lists: int = 0
    """Documents that a base reads before the mixed text."""
    muon_learning_rate: float = 0.0
    """Peak rate of the layers' matrices under Muon; 0: AdamW trains them like the rest."""
    lora_rank: int = 0
    """Train a PEFT adapter of this rank over the parent instead of all weights."""

    def __post_init__(self) -> None:
        if self.data not in DATA_SETS:
            raise unknown("training data", self.data, DATA_SETS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole zoo. Every batch holds `batch_tokens`, in rows of each length in turn."""

    name: str
    scale: str
    seed: int
    world_seed: int
    batch_tokens: int
    row_tokens: tuple[int, ...]
    sizes: dict[str, Size] = field(repr=False)
    roles: dict[str, Training] = field(repr=False)

    def __post_init__(self) -> None:
        for role, training in self.roles.items():
            if training.size not in self.sizes:
                raise unknown(f"size of {role}:", training.size, self.sizes)
            if training.parent is not None and training.parent not in self.roles:
                raise unknown(f"parent of {role}:", training.parent, self.roles)

    def training(self, role: str) -> Training:
        if role not in self.roles:
            raise unknown("role", role, self.roles)
        return self.roles[role]

    def trajectory(self, role: str) -> tuple[int, ...]:
        """The steps at which a role's weights are kept; empty where it has no trajectory."""
        training = self.training(role)
        if not training.trajectory_every:
            return ()
        every = training.trajectory_every
        return tuple(range(every, training.steps + 1, every))


def read_recipe(path: Path) -> Recipe:
    content = yaml.safe_load(path.read_text())
    try:
        return _recipe(content)
    except (KeyError, TypeError) as error:
        raise HarnessError(f"{path.name}: not a recipe of a trained zoo ({error})") from error


def role_fingerprint(recipe: Recipe, role: str) -> str:
    """Changes when the generator's code, the role's recipe or its parent's changes."""
    training = recipe.training(role)
    content: dict[str, Any] = asdict(training)
    content.pop("seconds")
    content["parent"] = training.parent and role_fingerprint(recipe, training.parent)
    content |= {"role": role, "size": asdict(recipe.sizes[training.size])}
    content |= {"seeds": (recipe.seed, recipe.world_seed)}
    content |= {"batches": (recipe.batch_tokens, recipe.row_tokens), "code": _generator_code()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def num_parameters(size: Size, vocabulary: int) -> int:
    """Counted from the shape, as a plan needs it before the model exists."""
    head = size.width // size.heads
    attention = 2 * size.width * size.width + 2 * size.width * size.kv_heads * head
    expert = 3 * size.width * size.ffn
    experts = size.num_experts * (expert + size.width) if size.num_experts else expert
    layer = attention + experts + 2 * size.width
    embeddings = (1 if size.tied else 2) * vocabulary * size.width
    return size.layers * layer + embeddings + size.width


def _recipe(content: Mapping[str, Any]) -> Recipe:
    return Recipe(
        name=content["name"],
        scale=content["scale"],
        seed=content["seed"],
        world_seed=content["world_seed"],
        batch_tokens=content["batch_tokens"],
        row_tokens=tuple(content["row_tokens"]),
        sizes={name: Size(**size) for name, size in content["sizes"].items()},
        roles={name: Training(**training) for name, training in content["roles"].items()},
    )


_code_hash: list[str] = []


def _generator_code() -> str:
    """A hash of what the generator does: comments and docstrings may change freely."""
    if not _code_hash:
        trees = (_bare_tree((REPOSITORY / name).read_text()) for name in GENERATOR_FILES)
        _code_hash.append(hashlib.sha256("\n".join(trees).encode()).hexdigest())
    return _code_hash[0]


def _bare_tree(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return ast.dump(tree)
