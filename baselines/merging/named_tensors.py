"""A mergekit definition of models as their files name the tensors. Imports mergekit."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from mergekit.architecture import ModelArchitecture, WeightInfo
from mergekit.architecture.base import ModuleDefinition
from mergekit.architecture.json_definitions import (
    JsonLayerTemplates,
    JsonModuleArchDef,
    JsonModuleArchitecture,
)

from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.parameters import INPUT_EMBEDDINGS

LAYER = re.compile(r"\.(\d+)\.")
OF_VOCABULARY = (*INPUT_EMBEDDINGS, "lm_head.weight", "embed_out.weight")


def definition_of_files(folders: Sequence[Path]) -> ModelArchitecture:
    """Each tensor of the files by itself, those of the longest row of layers layer by layer."""
    names = [set(inspect(folder).shapes) for folder in folders]
    everywhere = set.intersection(*names)
    layers: dict[str, set[int]] = defaultdict(set)
    loose = set()
    row = _longest_row(set().union(*names))
    for name in set().union(*names):
        match = LAYER.search(name)
        if match and name[: match.start()] == row:
            layers[LAYER.sub(".${layer_index}.", name, count=1)].add(int(match[1]))
        else:
            loose.add(name)
    num_layers = 1 + max((index for found in layers.values() for index in found), default=-1)
    templates = [
        _weight(template, optional=not _is_in_all(template, num_layers, everywhere))
        for template in sorted(layers)
    ]
    alone = [_weight(name, optional=name not in everywhere) for name in sorted(loose)]
    return _architecture(alone, templates, num_layers)


def _longest_row(names: set[str]) -> str:
    """Of `model.layers` and `vision_model.encoder.layers`, the one with more tensors."""
    rows = Counter(name[: match.start()] for name in names if (match := LAYER.search(name)))
    return max(sorted(rows), key=lambda row: rows[row], default="")


def _is_in_all(template: str, num_layers: int, everywhere: set[str]) -> bool:
    return everywhere.issuperset(
        template.replace("${layer_index}", str(index)) for index in range(num_layers)
    )


def _weight(name: str, *, optional: bool) -> WeightInfo:
    axis = 0 if name.endswith(OF_VOCABULARY) else None
    return WeightInfo(name=name, optional=optional, vocabulary_axis=axis)


def _architecture(
    alone: list[WeightInfo], templates: list[WeightInfo], num_layers: int
) -> ModelArchitecture:
    definition = JsonModuleArchDef(
        model_type="",
        architectures=[],
        pre_weights=alone,
        layer_templates=JsonLayerTemplates(weights=templates),
        post_weights=[],
        num_layers_config_key="num_hidden_layers",
        override_num_layers=num_layers,
    )
    module = ModuleDefinition(architecture=JsonModuleArchitecture(definition=definition))
    return ModelArchitecture(modules={"default": module}, architectures=[], model_type="")
