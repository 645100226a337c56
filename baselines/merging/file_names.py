"""From the names that tensors have in transformers' memory to those that files have.

transformers 5 fuses the experts of a mixture when it loads them, mergekit merges what comes out,
and engines read the files' names. Imports torch and transformers.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from mergekit.common import get_auto_cls
from torch import Tensor
from transformers import AutoConfig
from transformers.core_model_loading import revert_weight_conversion
from transformers.initialization import no_init_weights

from baselines.tensors import State, iterate_tensors
from baselines.weight_files import weight_files


def with_file_names(state: Mapping[str, Tensor], folder: Path) -> State:
    """The state as transformers would save it for the config.json in `folder`."""
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"), no_init_weights():
        model = get_auto_cls(config.architectures[0]).from_config(config)
    saved = revert_weight_conversion(model, dict(state))
    return {name: tensor.contiguous() for name, tensor in saved.items()}


def rename_files(folder: Path) -> None:
    """Write a folder's weights anew where its files have the names of memory."""
    state = dict(iterate_tensors(folder))
    saved = with_file_names(state, folder)
    if saved.keys() == state.keys():
        return
    for file in [*weight_files(folder), *folder.glob("*.index.json")]:
        file.unlink()
    save_torch_state_dict(saved, folder)
