"""Zoos of shapes: checkpoints that are a config and a tokenizer, with weights drawn at random.

What a model costs to serve follows from its shape and not from what it has learned, so a shape is
enough to measure speed and memory, and needs no download. A zoo file:

    kind: shapes
    name: mine
    shapes:
      llama-2-7b:                       # the keys of its config.json
        {architecture: LlamaForCausalLM, hidden_size: 4096, ...}
    roles:
      small_7b: llama-2-7b              # several roles may have one shape
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from melange.harness.cache import cache_dir
from melange.harness.checkpoints.info import promised_headers
from melange.harness.errors import HarnessError, unknown
from melange.harness.records import EngineOptions, Record
from melange.harness.roles import Role
from melange.harness.yaml_file import read_entry, read_yaml

SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")
MODEL_TYPES = {"LlamaForCausalLM": "llama", "MixtralForCausalLM": "mixtral"}
COMMON = {
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "bos_token_id": SPECIAL_TOKENS.index("<s>"),
    "eos_token_id": SPECIAL_TOKENS.index("</s>"),
    "load_format": "dummy",
}


class Shape(Record):
    """A model's config.json, as far as it bears on what serving costs."""

    architecture: Literal["LlamaForCausalLM", "MixtralForCausalLM"]
    source: str = ""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    vocab_size: int = Field(ge=len(SPECIAL_TOKENS))
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    num_key_value_heads: int = Field(gt=0)
    max_position_embeddings: int = Field(gt=0)
    """Tokens of context."""
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    num_local_experts: int | None = Field(default=None, gt=0)
    num_experts_per_tok: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def mixtures_have_experts(self) -> "Shape":
        experts = (self.num_local_experts, self.num_experts_per_tok)
        wanted = self.architecture == "MixtralForCausalLM"
        if any((number is not None) != wanted for number in experts):
            raise ValueError(
                "num_local_experts and num_experts_per_tok are for MixtralForCausalLM, which "
                "needs both"
            )
        return self

    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        facts = self.model_dump(exclude={"architecture", "source"}, exclude_none=True)
        kind = {"architectures": [self.architecture], "model_type": MODEL_TYPES[self.architecture]}
        return kind | COMMON | facts


class ShapesFile(Record):
    kind: Literal["shapes"]
    scale: Literal["shapes"] = "shapes"
    name: str = ""
    shapes: dict[str, Shape] = Field(min_length=1)
    roles: dict[str, str] = Field(min_length=1)


class ShapesZoo:
    """Obeys harness.contracts.Zoo; only `build` writes."""

    scale = "shapes"
    world_seed = None
    reference = ()

    def __init__(self, name: str, roles: Mapping[str, Shape]) -> None:
        self.name = name
        self._roles = dict(roles)

    @classmethod
    def read(cls, path: Path) -> "ShapesZoo":
        """The zoo of a YAML file, as the module's docstring describes it.

        Raises:
            HarnessError: a key is wrong, or a role's shape is not among the shapes.
        """
        content = read_entry(ShapesFile, read_yaml(path), str(path))
        for role, name in content.roles.items():
            if name not in content.shapes:
                raise HarnessError(
                    f"{path}: roles.{role}: {unknown('shape', name, content.shapes)}"
                )
        roles = {role: content.shapes[name] for role, name in content.roles.items()}
        return cls(content.name or path.stem, roles)

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(self._roles)

    def related(self) -> list[Role]:
        return [
            Role(
                name=name,
                kind="mixture" if shape.num_local_experts else "base",
                vocabulary=f"{shape.vocab_size} words",
                num_parameters=self.num_parameters(name),
            )
            for name, shape in self._roles.items()
        ]

    def num_parameters(self, role: str) -> int:
        headers = promised_headers(self._shape(role).config())
        return sum(prod(header.shape) for header in headers.values())

    def fingerprint(self, role: str) -> str:
        return _fingerprint(self._shape(role))

    def missing(self, role: str) -> str:
        """Always empty: whatever has a shape can be written here."""
        self._shape(role)
        return ""

    def folder(self, role: str) -> Path | None:
        """Its config is compared, so that weights put in its place do not pass as random ones."""
        path = self._path(role) / "config.json"
        written = path.is_file() and path.read_text(encoding="utf-8") == _config(self._shape(role))
        return path.parent if written else None

    def engine(self, role: str) -> EngineOptions:
        """Nothing: a shape has its dtype in its config."""
        return EngineOptions()

    def weights_bytes(self, role: str) -> int:
        headers = promised_headers(self._shape(role).config())
        return sum(header.num_bytes for header in headers.values())

    def training_sec(self, role: str) -> float | None:
        """Random weights were never trained."""
        return None

    def wall_seconds(self, roles: Collection[str]) -> float:
        return 0.0

    def build(self, roles: Collection[str]) -> dict[str, Path]:
        for role in roles:
            if self.folder(role) is None:
                _write(self._path(role), self._shape(role))
        return {role: self._path(role) for role in roles}

    def _shape(self, role: str) -> Shape:
        if role not in self._roles:
            raise unknown(f"role of zoo {self.name}", role, self._roles)
        return self._roles[role]

    def _path(self, role: str) -> Path:
        """Roles of one shape share a folder: any random weights are as good as others."""
        return cache_dir() / "shapes" / self.fingerprint(role)


@cache
def _fingerprint(shape: Shape) -> str:
    content = [shape.config(), _tokenizer(shape.vocab_size)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _write(out: Path, shape: Shape) -> None:
    out.mkdir(parents=True, exist_ok=True)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **dict(zip(("unk_token", "bos_token", "eos_token"), SPECIAL_TOKENS, strict=True)),
    }
    (out / "tokenizer.json").write_text(json.dumps(_tokenizer(shape.vocab_size)))
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    # The last file: a folder that has it is whole.
    (out / "config.json").write_text(_config(shape))


def _config(shape: Shape) -> str:
    return json.dumps(shape.config(), indent=2)


def _tokenizer(vocab_size: int) -> dict[str, Any]:
    """tokenizer.json of a tokenizer that has a word for every row of the embedding."""
    words = [*SPECIAL_TOKENS, *(f"w{index}" for index in range(len(SPECIAL_TOKENS), vocab_size))]
    vocabulary = {word: index for index, word in enumerate(words)}
    return {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": SPECIAL_TOKENS[0]},
    }
