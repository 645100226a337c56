"""The Hugging Face config of a fused model: what `folder` wrote into config.json, as attributes."""

from collections.abc import Mapping
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig

from melange.harness.engines.fused.folder import MODEL_TYPE, member_name


class LogitArithmeticConfig(PreTrainedConfig):
    model_type = MODEL_TYPE

    def member_configs(self) -> dict[str, PreTrainedConfig]:
        """Each member's own config by the member's name."""
        configs = {}
        for index, member in enumerate(self.members):
            name = member_name(index)
            configs[name] = _member_config(member["config"], name)
            # vllm serve --hf-overrides '{"head_dtype": "float32"}': the heads are the members'.
            configs[name].head_dtype = getattr(self, "head_dtype", None)
        return configs


def _member_config(values: Mapping[str, Any], name: str) -> PreTrainedConfig:
    config = CONFIG_MAPPING[values["model_type"]].from_dict(dict(values))
    # vLLM finds compiled code by a hash of the config. Expert and anti-expert are of one shape,
    # and compiled code holds the names of its attention layers: theirs must not be swapped.
    config.fused_member = name
    return config
