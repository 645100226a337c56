"""config.json, with every architecture's keys renamed to Llama's.

transformers knows what an architecture calls its width, what a key that is not there stands for,
and which part of a multimodal folder is the language model. Importing its classes takes seconds
and torch, so a plan reads the literals that they declare from their source.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from melange.harness.checkpoints.weight_files import read_json
from melange.harness.errors import HarnessError

Config = dict[str, Any]
NEEDED = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
SIBLINGS_OF_TEXT = ("architectures", "quantization_config", "load_format")
FIRST_NAMES = {"n_embed": "hidden_size"}
"""Keys of the first Bloom and Falcon files, which transformers renames in code."""
LENGTH_KEYS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length",
    "max_target_positions", "max_sequence_length", "max_seq_length", "seq_len",
)  # fmt: skip
"""vLLM's, in ModelArchConfigConvertorBase.derive_max_model_len_and_key."""
ASSUMED_LENGTH = 2048
"""vLLM's default for a model without a limit, such as one with ALiBi."""


class Declared(NamedTuple):
    """What transformers' configuration class of a model type says."""

    names: Mapping[str, str]
    """The common name of a key -> the architecture's own."""
    defaults: Mapping[str, Any]


def read_config(path: Path) -> Config:
    """config.json as it is.

    Raises:
        HarnessError: it is missing or damaged, or no decoder's.
    """
    file = path / "config.json"
    if not path.is_dir():
        raise HarnessError(f"{path}: no such checkpoint folder; check the zoo's path for it.")
    if not file.is_file():
        raise HarnessError(f"{path}: has no config.json; point at a Hugging Face checkpoint.")
    config = read_json(file)
    if not config.get("architectures"):
        raise HarnessError(f"{file}: lacks architectures; name the model's class there.")
    check_decoder(file, config)
    return config


def check_decoder(file: Path, config: Mapping[str, Any]) -> None:
    architecture, common = config["architectures"][0], common_config(config)
    if common.get("is_encoder_decoder"):
        raise HarnessError(
            f"{file}: {architecture} has an encoder and a decoder; use a model that is a decoder "
            "alone, such as a Llama, a Qwen or a GPT-2."
        )
    missing = [key for key in NEEDED if not common.get(key)]
    if missing:
        kind = common.get("model_type")
        known = f"{kind} has none" if declared(str(kind)) else f"transformers knows no {kind!r}"
        raise HarnessError(
            f"{file}: lacks {', '.join(missing)}, and {known}; use a model with attention whose "
            "config.json says so, such as a Llama, a Qwen or a GPT-2."
        )


def common_config(config: Mapping[str, Any]) -> Config:
    """The language model's keys under their common names, with transformers' defaults."""
    text = text_config(config)
    known = declared(str(text.get("model_type"))) or Declared({}, {})
    own = {**known.defaults, **text}
    own |= {common: own[first] for first, common in FIRST_NAMES.items() if own.get(first)}
    for common, name in known.names.items():
        # A file may have either name; Bloom's has the common one, GPT-2's its own.
        value = text[common] if text.get(common) is not None else own.get(name)
        own |= {common: value, name: value}
    return own


REWARD_MODEL = "ForSequenceClassification"
"""The end of the architecture's name of a decoder with a classification head."""


MIXTURES = frozenset({"MixtralForCausalLM", "OlmoeForCausalLM", "Qwen3MoeForCausalLM"})
"""Mixtures whose routers choose by the gate's largest logits alone."""


def is_reward_model(config: Mapping[str, Any]) -> bool:
    """Whether it classifies into a single label. transformers writes the number of labels, their
    names, or both; without either it assumes two."""
    labels = config.get("num_labels") or len(config.get("id2label") or "ab")
    return str(config["architectures"][0]).endswith(REWARD_MODEL) and labels == 1


def text_config(config: Mapping[str, Any]) -> Config:
    """The language model's part of a multimodal config."""
    inner = config.get("text_config")
    if not isinstance(inner, Mapping):
        return dict(config)
    kept = {key: config[key] for key in SIBLINGS_OF_TEXT if key in config}
    types = {key: config[key] for key in ("dtype", "torch_dtype") if config.get(key)}
    kind = inner.get("model_type") or f"{config.get('model_type')}_text"
    return {**types, **inner, **kept, "model_type": kind}


def context_length(common: Mapping[str, Any]) -> int:
    """Tokens that the model may attend to, by vLLM's rule: it refuses a longer context."""
    if limit := common.get("model_max_length"):
        return int(limit)
    limits = [int(common[key]) for key in LENGTH_KEYS if common.get(key)]
    return min(limits, default=ASSUMED_LENGTH)


@cache
def declared(model_type: str) -> Declared | None:
    """None for a model type that transformers does not know."""
    for file in class_files(model_type):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        for node in classes.values():
            found = _literals(node, classes)
            if found.get("model_type") == model_type:
                return Declared(found.pop("attribute_map", {}), found)
    return None


@cache
def class_files(model_type: str) -> list[Path]:
    """Sources of transformers that declare the type: usually the one in the folder of its name."""
    spec = find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        return []
    models = Path(spec.submodule_search_locations[0]) / "models"
    folder = model_type.replace("-", "_")
    usual = models / folder / f"configuration_{folder}.py"
    if usual.is_file():
        return [usual]
    line = f'model_type = "{model_type}"'
    files = sorted(models.glob("*/configuration_*.py"))
    return [file for file in files if line in file.read_text(encoding="utf-8")]


def _literals(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> Config:
    """Class attributes with literal values, those of base classes in the same file below."""
    found: Config = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes:
            found |= _literals(classes[base.id], classes)
    for name, value in _assignments(node):
        try:
            found[name] = ast.literal_eval(value)
        except ValueError:
            found.pop(name, None)  # an expression, whose value is not known
    return found


def _assignments(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and line.value and isinstance(line.target, ast.Name):
            yield line.target.id, line.value
        elif isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            yield line.targets[0].id, line.value
