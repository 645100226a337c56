"""The spec of a trained zoo, read from YAML and checked before anything is trained.

Nothing here imports torch: plans must answer at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from melange.harness.errors import HarnessError, unknown
from melange.harness.records import EngineOptions
from melange.harness.references import Reference
from melange.harness.roles import Kind, Role
from melange.harness.yaml_file import read_yaml
from melange.tasks.pocket.tokens import VOCABULARY_SIZE

HOME = Path(__file__).parents[3]
"""The folder that holds the package."""
REVISION = 1
"""Increment it when the world, its text, the tokenizer or the training change: everything is then
trained again. test_zoo_text.py notices changed text."""
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
    """Embedding and head share one matrix."""

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width // self.heads not in (32, 64):
            raise HarnessError(
                f"zoo size: width {self.width} over {self.heads} heads; "
                "vLLM on a CPU needs a head of 32 or 64"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How one role is trained; `seconds` is what it took the author of the spec."""

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
    """Documents, each a list, that a base is trained on before the mixed text."""
    muon_learning_rate: float = 0.0
    """Peak learning rate of Muon, for the layers' matrices; 0: AdamW trains them too."""
    lora_rank: int = 0
    """Train a PEFT adapter of this rank over the parent instead of all weights."""

    def __post_init__(self) -> None:
        if self.data not in DATA_SETS:
            raise unknown("training data", self.data, DATA_SETS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooSpec:
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
    """By data set, a few examples of its prompts."""
    shipped: bool = False
    """Its weights are in the folder of the same name beside its file."""

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

    def with_seed(self, seed: int) -> ZooSpec:
        """The same zoo, in the same world, with other weights and text in another order."""
        return replace(self, name=f"{self.name}@{seed}", seed=seed, shipped=False)


def read_spec(path: Path) -> ZooSpec:
    """The spec of a zoo file.

    `like: NAME` takes missing keys from a zoo of this folder, but not its weights.

    Raises:
        HarnessError: the file cannot be read, or is not a spec.
    """
    content = read_yaml(path)
    if LIKE in content:
        parent = Path(__file__).parent / f"{content.pop(LIKE)}.yaml"
        content = read_yaml(parent) | {SHIPPED: False, "name": path.stem} | content
    try:
        return parse_spec(content)
    except (KeyError, TypeError) as error:
        raise HarnessError(f"{path.name}: not a spec of a trained zoo ({error})") from error


def parse_spec(content: Mapping[str, Any]) -> ZooSpec:
    """From the content of a YAML file, or from `asdict(spec)`."""
    return ZooSpec(
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


def role_spec(spec: ZooSpec, role: str) -> dict[str, Any]:
    """Everything that determines a role's weights, its parent's hash included."""
    training = spec.training(role)
    content: dict[str, Any] = asdict(training)
    content.pop("seconds")
    content["parent"] = training.parent and spec_hash(spec, training.parent)
    return content | {
        "role": role,
        "size": asdict(spec.sizes[training.size]),
        "seed": spec.seed,
        "world_seed": spec.world_seed,
        "batch_tokens": spec.batch_tokens,
        "row_tokens": list(spec.row_tokens),
        "revision": REVISION,
    }


def spec_hash(spec: ZooSpec, role: str) -> str:
    """Changes when the spec of the role or of its parent does."""
    content = json.dumps(role_spec(spec, role), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SpecZoo:
    """The part of harness.contracts.Zoo that needs no weights; subclasses add the rest."""

    spec: ZooSpec

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def scale(self) -> str:
        return self.spec.scale

    @property
    def reference(self) -> tuple[Reference, ...]:
        """No paper reports figures of these checkpoints."""
        return ()

    @property
    def world_seed(self) -> int:
        return self.spec.world_seed

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role, those of the trajectories included."""
        return self.spec.all_roles

    def related(self) -> list[Role]:
        return [self._role(name) for name in self.roles]

    def _role(self, name: str) -> Role:
        owner, step = self.spec.owner(name)
        training = self.spec.training(owner)
        if step:
            return Role(name=name, kind="step", of=(owner,), step=step)
        kind = _kind(training, self.spec.sizes[training.size])
        tuned = training.parent is not None
        return Role(
            name=name,
            kind=kind,
            of=(training.parent,) if training.parent else (),
            label=training.data if kind == "finetune" else "",
            domains=() if not tuned else DOMAINS if training.data == "mix" else (training.data,),
            prompts=self.spec.prompts.get(training.data, ()) if tuned else (),
            # One tokenizer, trained on the world's text.
            vocabulary=f"world {self.world_seed}",
            num_parameters=self.params(name),
        )

    def params(self, role: str) -> int:
        """An upper bound: the tokenizer may end up with fewer tokens."""
        training = self.spec.training(self.spec.owner(role)[0])
        return num_parameters(self.spec.sizes[training.size], VOCABULARY_SIZE)

    def engine(self, role: str) -> EngineOptions:
        """No options: the configs give the dtype."""
        return EngineOptions()

    def weights_bytes(self, role: str) -> int:
        return self.params(role) * BYTES_PER_PARAMETER


def _kind(training: Training, size: Size) -> Kind:
    if training.parent is not None:
        return "adapter" if training.lora_rank else "finetune"
    return "mixture" if size.num_experts else "base"


def num_parameters(size: Size, vocabulary: int) -> int:
    """Computed from the shape, for plans made before the model exists."""
    head = size.width // size.heads
    attention = 2 * size.width * size.width + 2 * size.width * size.kv_heads * head
    expert = 3 * size.width * size.ffn
    experts = size.num_experts * (expert + size.width) if size.num_experts else expert
    layer = attention + experts + 2 * size.width
    embeddings = (1 if size.tied else 2) * vocabulary * size.width
    return size.layers * layer + embeddings + size.width
