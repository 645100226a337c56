"""Renames tensors from transformers' names in memory to those in files.

transformers 5 fuses the experts of a mixture when it loads them, mergekit merges what comes out,
and engines read the files' names. Imports torch and transformers.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from mergekit.common import get_auto_cls
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion
from transformers.initialization import no_init_weights

from melange.baselines.merging.named_tensors import LAYER
from melange.harness.checkpoints.tensors import State, iterate_tensors
from melange.harness.checkpoints.weight_files import stored_names, weight_files


def with_file_names(state: Mapping[str, Tensor], folder: Path) -> State:
    """The state as transformers would save it for the config.json in `folder`."""
    saved = revert_weight_conversion(_empty_model(folder), dict(state))
    return {name: _owned(tensor) for name, tensor in saved.items()}


def names_in_files(names: Iterable[str], folder: Path) -> set[str]:
    """Names under which transformers would save the model's tensors of these names."""
    model = _empty_model(folder)
    known = model.state_dict()
    return set(revert_weight_conversion(model, {n: known[n] for n in names if n in known}))


def rename_files(folder: Path, like: Path) -> None:
    """Write a folder's weights anew where its files have names that those of `like` lack."""
    if {_kind(name) for name in stored_names(folder)} <= {_kind(n) for n in stored_names(like)}:
        return
    state = dict(iterate_tensors(folder))
    saved = with_file_names(state, folder)
    if saved.keys() == state.keys():
        return
    for file in [*weight_files(folder), *folder.glob("*.index.json")]:
        file.unlink()
    save_torch_state_dict(saved, folder)


def _kind(name: str) -> str:
    """The name without the layer's number: a merge may stack more layers than its inputs have."""
    return LAYER.sub(".N.", name, count=1)


def _empty_model(folder: Path) -> PreTrainedModel:
    """The model on the meta device, without memory for weights."""
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"), no_init_weights():
        return get_auto_cls(config.architectures[0]).from_config(config)


def _owned(tensor: Tensor) -> Tensor:
    """Copies a slice of a fused tensor: files cannot hold tensors that share memory."""
    is_part = tensor.untyped_storage().nbytes() != tensor.nbytes
    return tensor.clone() if is_part else tensor.contiguous()
