"""What the logits processor must know of a mix, request by request."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from melange.harness.engines.scoring import Prefix
from melange.harness.errors import HarnessError

if TYPE_CHECKING:
    from melange.harness.recipes.logit_mix import LogitMix


class Mixing:
    """A mix whose members beside the base run in the logits processor."""

    def __init__(self, mix: "LogitMix", folders: Sequence[Path]) -> None:
        """`folders`: one for each member.

        Raises:
            HarnessError: a member has a prompt of its own and no chat template.
        """
        self._mix = mix
        self._base = folders[0]
        self._others = list(zip(mix.members[1:], folders[1:], strict=True))
        for member, folder in self._others:
            if member.own_prompt and not _tokenizer(folder).chat_template:
                raise HarnessError(
                    f"{folder.name}: has no chat template to see prompts through; "
                    "leave own_prompt out, or add one to its tokenizer_config.json"
                )

    def arguments(self, prompt: Prefix) -> dict[str, Any]:
        """`extra_args["mix"]` of a request with this prompt."""
        return {
            "combine": self._mix.combine,
            "coefficients": list(self._mix.coefficients),
            "folders": [str(folder) for _, folder in self._others],
            "prompts": [
                self._own_prompt(folder, prompt) if member.own_prompt else None
                for member, folder in self._others
            ],
        }

    def _own_prompt(self, folder: Path, prompt: Prefix) -> list[int]:
        """The context as a user's message, then the given tokens as the answer's beginning."""
        text = _tokenizer(self._base).decode(
            prompt.context, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        rendered = _tokenizer(folder).apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        )
        return [*rendered, *prompt.given]


@lru_cache(maxsize=8)
def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer
