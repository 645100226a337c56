"""What a trained zoo is made of, read from YAML and checked before anything is trained.

Nothing here imports torch: a plan that only asks what is ready must answer at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from melange.harness.errors import HarnessError, unknown
from melange.harness.records import EngineOptions, Reference
from melange.harness.roles import Kind, Role
from melange.harness.yaml_file import read_yaml
from melange.tasks.pocket.tokens import VOCABULARY_SIZE

HOME = Path(__file__).parents[3]
"""The folder that holds the package."""
REVISION = 1
"""Raise it when the world, its text, the tokenizer or the training change: what was trained by an
earlier revision is then trained again. test_zoo_text.py notices a changed text."""
DOMAINS = ("knowledge", "arithmetic", "instructions")
DATA_SETS = ("base", *DOMAINS, "mix")
LIKE, SHIPPED = "like", "shipped"
BYTES_PER_PARAMETER = 4  # float32, in which engines compute


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
    trajectory_from: int = 0
    """The first step of the trajectory; `trajectory_every` where it is 0."""
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
    prompts: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """Of each data set, a few of what it is about."""
    shipped: bool = False
    """Its weights lie in the folder beside its file, of the same name."""

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
        every = training.trajectory_every
        first = training.trajectory_from or every
        return tuple(range(first, training.steps + 1, every)) if every else ()

    def owner(self, role: str) -> tuple[str, int | None]:
        """`large_base@1500` -> (`large_base`, 1500): the role that is trained, and the step.

        Raises:
            HarnessError: there is no such role, or it does not keep that step.
        """
        owner, at, step = role.partition("@")
        if owner not in self.roles or (at and step not in map(str, self.trajectory(owner))):
            raise unknown("role", role, self.all_roles)
        return owner, int(step) if at else None

    @property
    def all_roles(self) -> tuple[str, ...]:
        """Every role, those of the trajectories included."""
        steps = (f"{role}@{step}" for role in self.roles for step in self.trajectory(role))
        return (*self.roles, *steps)

    def with_seed(self, seed: int) -> Recipe:
        """The same zoo trained with other draws: weights and order of the text, not the world."""
        return replace(self, name=f"{self.name}@{seed}", seed=seed, shipped=False)


def read_recipe(path: Path) -> Recipe:
    """The recipe of a zoo file.

    `like: NAME` takes what the file does not say from a zoo of this folder, but for its weights.

    Raises:
        HarnessError: the file cannot be read or is no recipe.
    """
    content = read_yaml(path)
    if LIKE in content:
        parent = Path(__file__).parent / f"{content.pop(LIKE)}.yaml"
        content = read_yaml(parent) | {SHIPPED: False, "name": path.stem} | content
    try:
        return parse_recipe(content)
    except (KeyError, TypeError) as error:
        raise HarnessError(f"{path.name}: not a recipe of a trained zoo ({error})") from error


def parse_recipe(content: Mapping[str, Any]) -> Recipe:
    """Of a YAML file's content, or of `asdict(recipe)`."""
    return Recipe(
        name=content["name"],
        scale=content["scale"],
        seed=content["seed"],
        world_seed=content["world_seed"],
        batch_tokens=content["batch_tokens"],
        row_tokens=tuple(content["row_tokens"]),
        sizes={name: Size(**size) for name, size in content["sizes"].items()},
        roles={name: Training(**training) for name, training in content["roles"].items()},
        prompts={name: tuple(texts) for name, texts in content.get("prompts", {}).items()},
        shipped=content.get(SHIPPED, False),
    )


def role_recipe(recipe: Recipe, role: str) -> dict[str, Any]:
    """All that decides a role's weights, its parent's recipe included."""
    training = recipe.training(role)
    content: dict[str, Any] = asdict(training)
    content.pop("seconds")
    content["parent"] = training.parent and recipe_hash(recipe, training.parent)
    return content | {
        "role": role,
        "size": asdict(recipe.sizes[training.size]),
        "seed": recipe.seed,
        "world_seed": recipe.world_seed,
        "batch_tokens": recipe.batch_tokens,
        "row_tokens": list(recipe.row_tokens),
        "revision": REVISION,
    }


def recipe_hash(recipe: Recipe, role: str) -> str:
    """Changes when the role's recipe or its parent's does."""
    content = json.dumps(role_recipe(recipe, role), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class RecipeZoo:
    """What a zoo of a recipe knows without its weights; the rest of harness.contracts.Zoo is its
    subclasses'."""

    recipe: Recipe

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def scale(self) -> str:
        return self.recipe.scale

    @property
    def reference(self) -> tuple[Reference, ...]:
        """No paper knows these checkpoints."""
        return ()

    @property
    def world_seed(self) -> int:
        return self.recipe.world_seed

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role, those of the trajectories included."""
        return self.recipe.all_roles

    def related(self) -> list[Role]:
        return [self._role(name) for name in self.roles]

    def _role(self, name: str) -> Role:
        owner, step = self.recipe.owner(name)
        training = self.recipe.training(owner)
        if step:
            return Role(name=name, kind="step", of=(owner,), step=step)
        kind = _kind(training, self.recipe.sizes[training.size])
        tuned = training.parent is not None
        return Role(
            name=name,
            kind=kind,
            of=(training.parent,) if training.parent else (),
            label=training.data if kind == "finetune" else "",
            domains=() if not tuned else DOMAINS if training.data == "mix" else (training.data,),
            prompts=self.recipe.prompts.get(training.data, ()) if tuned else (),
            # One tokenizer, trained on the world's text.
            vocabulary=f"world {self.world_seed}",
            num_parameters=self.params(name),
        )

    def params(self, role: str) -> int:
        """At most: the tokenizer may find fewer merges worth a token."""
        training = self.recipe.training(self.recipe.owner(role)[0])
        return num_parameters(self.recipe.sizes[training.size], VOCABULARY_SIZE)

    def engine(self, role: str) -> EngineOptions:
        """Nothing: its configs say in what they are computed."""
        return EngineOptions()

    def weights_bytes(self, role: str) -> int:
        return self.params(role) * BYTES_PER_PARAMETER


def _kind(training: Training, size: Size) -> Kind:
    if training.parent is not None:
        return "adapter" if training.lora_rank else "finetune"
    return "mixture" if size.num_experts else "base"


def num_parameters(size: Size, vocabulary: int) -> int:
    """Counted from the shape, as a plan needs it before the model exists."""
    head = size.width // size.heads
    attention = 2 * size.width * size.width + 2 * size.width * size.kv_heads * head
    expert = 3 * size.width * size.ffn
    experts = size.num_experts * (expert + size.width) if size.num_experts else expert
    layer = attention + experts + 2 * size.width
    embeddings = (1 if size.tied else 2) * vocabulary * size.width
    return size.layers * layer + embeddings + size.width
