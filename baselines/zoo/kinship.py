"""Infers how checkpoints are related, from their files alone.

Fine-tunes move each in a direction of its own, so of several the base is the one from which all
are nearest: the task vectors of https://arxiv.org/abs/2212.04089 are almost orthogonal. Two
checkpoints that were not trained from each other have weights that are not correlated.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from melange.harness.checkpoints.adapters import CONFIG, check_adapter, is_adapter
from melange.harness.checkpoints.info import CheckpointInfo, inspect
from melange.harness.checkpoints.weight_files import read_json
from melange.harness.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

MATRICES = 4
NUMBERS = 2**16
"""Of each of so many matrices are compared."""
CORRELATED = 0.5
"""Cosine similarity of related weights: 0.97 and more among the pocket zoo's fine-tunes, 0.7 of a
base with itself half-way, 0 without a common start."""


def parents(models: Mapping[str, Path], base: str = "") -> dict[str, str]:
    """The model that each was made from, among these; empty if from none of them.

    `base` is a base for sure; else, of models that are alike, the one in their middle; of two, the
    one without a chat template, that calls itself one, or has the shorter name.

    Raises:
        HarnessError: a folder holds no checkpoint.
    """
    whole = {name: inspect(folder) for name, folder in models.items() if not is_adapter(folder)}
    found = dict.fromkeys(models, "")
    shapes = {name: repr((one.architecture, one.shapes)) for name, one in whole.items()}
    for shape in dict.fromkeys(shapes.values()):
        for family in _families({name: whole[name] for name in whole if shapes[name] == shape}):
            root = base if base in family else _root(family, whole)
            found |= {name: root for name in family if name != root}
    adapters = [name for name in models if name not in whole]
    roots = {name: models[name] for name in whole if not found[name]}
    return found | {name: _adapted(models[name], roots) for name in adapters}


def _families(alike: Mapping[str, CheckpointInfo]) -> list[dict[str, "Tensor"]]:
    """Models of one shape, split into groups whose weights are correlated."""
    if len(alike) < 2:
        return []
    from torch.nn.functional import cosine_similarity

    families: list[dict[str, Tensor]] = []
    for name, info in alike.items():
        weights = _sample(info)
        for family in families:
            other = next(iter(family.values()))
            if cosine_similarity(weights, other, dim=0) > CORRELATED:
                family[name] = weights
                break
        else:
            families.append({name: weights})
    return families


def _sample(info: CheckpointInfo) -> "Tensor":
    """Float32 [MATRICES * NUMBERS] at most: the first numbers of matrices all along the model."""
    import torch

    from melange.harness.checkpoints.tensors import read_tensors

    matrices = [name for name, shape in info.shapes.items() if len(shape) == 2]
    chosen = matrices[:: max(1, len(matrices) // MATRICES)][:MATRICES]
    tensors = read_tensors(info.path, chosen)
    return torch.cat([tensors[name].flatten()[:NUMBERS].float() for name in chosen])


def _root(family: Mapping[str, "Tensor"], infos: Mapping[str, CheckpointInfo]) -> str:
    if len(family) > 2:
        return min(family, key=lambda name: _distance(family[name], family.values()))

    def unlikely(name: str) -> tuple[bool, bool, int]:
        return _has_chat_template(infos[name].path), "base" not in name.lower(), len(name)

    return min(family, key=unlikely)


def _distance(weights: "Tensor", others: Iterable["Tensor"]) -> float:
    return sum((weights - other).square().sum().item() for other in others)


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    config = folder / "tokenizer_config.json"
    return config.is_file() and bool(read_json(config).get("chat_template"))


def _adapted(adapter: Path, bases: Mapping[str, Path]) -> str:
    """The base that the adapter names, else the first that it fits."""
    said = str(read_json(adapter / CONFIG).get("base_model_name_or_path") or "")
    named = [name for name, folder in bases.items() if folder.name == Path(said).name]
    return next((name for name in (*named, *bases) if _fits(bases[name], adapter)), "")


def _fits(base: Path, adapter: Path) -> bool:
    try:
        check_adapter(base, adapter)
    except HarnessError:
        return False
    return True


def role_names(models: Sequence[str]) -> dict[str, str]:
    """A role's name for each model, a folder or a hub name: its last part, or its last two where
    models share that."""
    last = [Path(model).name for model in models]
    return {
        "-".join(Path(model).parts[-2:]) if last.count(name) > 1 else name: model
        for model, name in zip(models, last, strict=True)
    }
