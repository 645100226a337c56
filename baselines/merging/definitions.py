"""Chooses the tensors that mergekit merges: its definition, its inference, or the files' names.

Its definitions (0.1.5) know Falcon as the 40B, Command-R as the plus, GPT-NeoX with the masks of
old files, and Llamas without biases, which it would drop unsaid. Its inference reads the names off
transformers' model, and misses tensors that are renamed for one class alone (GPT-NeoX's head) or
are in some layers only (the experts of DeepSeek, whose first layer has none). Imports mergekit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mergekit.architecture import ModelArchitecture, WeightInfo, arch_info_for_config
from mergekit.architecture.auto import infer_architecture_info
from mergekit.architecture.base import ModuleDefinition
from mergekit.architecture.conversion import can_convert_checkpoint_keys
from mergekit.architecture.json_definitions import NAME_TO_ARCH, JsonModuleArchitecture
from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions

from melange.baselines.merging.file_names import names_in_files
from melange.baselines.merging.named_tensors import definition_of_files
from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.weight_files import stored_names


@contextmanager
def fitting_definition(
    config: MergeConfiguration, options: MergeOptions
) -> Iterator[ModelArchitecture]:
    """A definition that fits all models of the recipe; as long as this is open, mergekit finds it.

    It looks one up by the architecture's name. `config` must still be as it was read: planning
    rewrites it.
    """
    models = config.referenced_models()
    chosen = _definition(models, config.base_model, options)
    names = {model.config().architectures[0] for model in models}
    before = {name: NAME_TO_ARCH.get(name) for name in names}
    NAME_TO_ARCH.update({name: [chosen] for name in names})
    try:
        yield chosen
    finally:
        for name, entry in before.items():
            NAME_TO_ARCH.pop(name)
            if entry is not None:
                NAME_TO_ARCH[name] = entry


def spellings(weight: WeightInfo) -> tuple[str, ...]:
    """Names that the tensor may have in a file."""
    return (weight.name, *(weight.aliases or ()))


def _definition(
    models: Sequence[ModelReference], base: ModelReference | None, options: MergeOptions
) -> ModelArchitecture:
    own = [arch_info_for_config(model.config()) for model in models]
    if all(
        one is not None and one == own[0] and _fits(one, model)
        for one, model in zip(own, models, strict=True)
    ):
        return own[0]
    inferred = infer_architecture_info(tuple(models), base, options)
    if _is_whole(inferred, base or models[0]):
        return _with_layer_key(inferred)
    return definition_of_files([_folder(model) for model in models])


def _fits(definition: ModelArchitecture, model: ModelReference) -> bool:
    """Whether the files hold all tensors that it requires, and none that it would leave out."""
    config, path = model.config(), _folder(model)
    stored, weights = stored_names(path), definition.all_weights(config)
    readable = {one.name: {*spellings(one), *(one.tied_names or ())} for one in weights}
    required = [one.name for one in weights if not one.optional]
    absent = [name for name in required if not stored & readable[name]]
    if not absent:
        return inspect(path).shapes.keys() <= set().union(*readable.values())
    # A definition may use the names that transformers has in memory, where experts are one tensor.
    return all(can_convert_checkpoint_keys(config.model_type, stored, name) for name in absent)


def _is_whole(inferred: ModelArchitecture, model: ModelReference) -> bool:
    """Whether the result would have every tensor of the model's files."""
    path = _folder(model)
    stored, needed = stored_names(path), inspect(path).shapes.keys()
    weights = inferred.all_weights(model.config())
    # mergekit leaves out an optional tensor whose name no file has, though it could convert it.
    made = {one.name for one in weights if not one.optional or stored.intersection(spellings(one))}
    return needed <= made or needed <= names_in_files(made, path)


def _with_layer_key(inferred: ModelArchitecture) -> ModelArchitecture:
    """An inferred definition counts layers in the files; stacking layers must write a new count."""
    if len(inferred.modules) != 1:
        return inferred
    ((name, module),) = inferred.modules.items()
    assert isinstance(module.architecture, JsonModuleArchitecture)
    counted = module.architecture.definition.model_copy(
        update={"num_layers_config_key": "num_hidden_layers"}
    )
    architecture = JsonModuleArchitecture(definition=counted)
    return inferred.model_copy(
        update={"modules": {name: ModuleDefinition(architecture=architecture)}}
    )


def _folder(model: ModelReference) -> Path:
    return Path(model.local_path())
