"""Why vLLM would not start a model of this architecture, found without importing vLLM.

vLLM itself would say so after a minute, once for each candidate and task.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from melange.harness.checkpoints.configs import REWARD_MODEL, class_files, is_reward_model

LABELLING = ("ForMaskedLM", "Classification", "ForQuestionAnswering", "ForMultipleChoice")

REPLACEABLE = ("_supports_attention_backend = True", "ALL_ATTENTION_FUNCTIONS.get_interface")
"""In the source of transformers' classes whose attention vLLM's Transformers backend replaces."""


def unserved_architecture(config: Mapping[str, Any]) -> str:
    """Why, and what to use instead; empty if nothing speaks against it."""
    if is_reward_model(config):  # vLLM puts the head on the language model of that name
        language = config["architectures"][0].replace(REWARD_MODEL, "ForCausalLM")
        config = {**config, "architectures": [language]}
    architecture = config["architectures"][0]
    if architecture.endswith(LABELLING):
        return (
            f"{architecture} does not generate text; use the checkpoint of a language model, such "
            "as LlamaForCausalLM, or a reward model with one label"
        )
    if last := last_version(architecture):
        return (
            f"{architecture} is not in the installed vLLM, which had it up to {last}; use another "
            "architecture, such as a Llama, a Falcon or a GPT-2"
        )
    if is_unknown(config):
        return (
            f"{architecture} is neither in vLLM nor run by its Transformers backend; use "
            "another architecture, such as a Llama, a Falcon or a GPT-2"
        )
    if config.get("vision_config") and find_spec("torchvision") is None:
        return (
            f"{architecture} takes images, for which vLLM needs torchvision, which is not "
            "installed; use a checkpoint of its language model, such as Gemma3ForCausalLM"
        )
    return ""


@cache
def last_version(architecture: str) -> str:
    """The last version of vLLM with an architecture that was dropped since; else empty."""
    line = re.search(rf'^\s+"{re.escape(architecture)}": "([\d.]+)",', _registry(), re.MULTILINE)
    return line[1] if line else ""


def is_unknown(config: Mapping[str, Any]) -> bool:
    """Neither does vLLM list the architecture, nor would its Transformers backend take it.

    That takes classes whose attention can be replaced. A folder with code of its own may be fine.
    """
    listed = f'"{config["architectures"][0]}": ('
    if not _registry() or listed in _registry() or config.get("auto_map"):
        return False
    sources = class_files(str(config.get("model_type")))
    modules = [file.with_name(file.name.replace("configuration", "modeling")) for file in sources]
    texts = [module.read_text(encoding="utf-8") for module in modules if module.is_file()]
    return not any(sign in text for text in texts for sign in REPLACEABLE)


@cache
def _registry() -> str:
    """Source of vLLM's list of models; empty if it is not installed."""
    spec = find_spec("vllm")
    places = spec.submodule_search_locations if spec else None
    file = Path(*(places or [""])[:1]) / "model_executor" / "models" / "registry.py"
    return file.read_text(encoding="utf-8") if file.is_file() else ""
