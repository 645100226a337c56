"""Proxy-tuning as in its authors' code: three models of transformers step by step.

Source: `DExpertsLlama.generate` in modeling/dexperts.py of https://github.com/alisawuffles/proxy-tuning
Faster than theirs: a prompt's logits are computed for its last token only.

Shape letters: B rows, P tokens of the longest prompt, T tokens so far, V vocabulary.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from melange.harness.requests import Generation

PAD = 0


class ThreeModels:
    def __init__(self, folders: Sequence[Path], *, batch_size: int, alpha: float = 1.0) -> None:
        """`folders`: base, expert, anti-expert."""
        from transformers import AutoModelForCausalLM

        self._models = [
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
            for folder in folders
        ]
        self._batch_size = batch_size
        self._coefficients = (1.0, alpha, -alpha)

    def generate(self, generations: Sequence[Generation]) -> list[tuple[int, ...]]:
        """Greedy, batch after batch in the order given."""
        starts = range(0, len(generations), self._batch_size)
        batches = [generations[start : start + self._batch_size] for start in starts]
        return [row for batch in batches for row in self._generate(batch)]

    @torch.inference_mode()
    def _generate(self, generations: Sequence[Generation]) -> list[tuple[int, ...]]:
        """A batch runs until its longest output is done, then each is cut to its own length."""
        tokens_BP, mask_BT = _pad_left([generation.prompt for generation in generations])
        caches: list[Any] = [None] * len(self._models)
        new_tokens: list[Tensor] = []
        tokens_B1 = tokens_BP
        for _ in range(max(generation.max_tokens for generation in generations)):
            next_B = self._step(tokens_B1, mask_BT, caches).argmax(-1)
            new_tokens.append(next_B)
            tokens_B1 = next_B[:, None]
            mask_BT = torch.cat([mask_BT, torch.ones_like(tokens_B1)], dim=-1)
        rows = torch.stack(new_tokens, dim=-1).tolist()
        return [
            tuple(row[: generation.max_tokens])
            for row, generation in zip(rows, generations, strict=True)
        ]

    def _step(self, tokens: Tensor, mask_BT: Tensor, caches: list[Any]) -> Tensor:
        positions = (mask_BT.cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        each_BV = []
        for at, model in enumerate(self._models):
            output = model(
                input_ids=tokens,
                attention_mask=mask_BT,
                position_ids=positions,
                past_key_values=caches[at],
                use_cache=True,
                logits_to_keep=1,
            )
            caches[at] = output.past_key_values
            each_BV.append(output.logits[:, -1])
        width = each_BV[0].shape[-1]
        terms = zip(self._coefficients, each_BV, strict=True)
        return torch.stack([c * one_BV[:, :width] for c, one_BV in terms]).sum(0)


def _pad_left(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, prompts))
    tokens = [[PAD] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(tokens), torch.tensor(mask)
