"""Computes expected answers, by plain transformers and the methods' formulas.

Independent of vLLM and the harness. Shape letters: T tokens of a text, V vocabulary, D the model's
width, E experts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoTokenizer

from parity.rows import choice_prompts, word_prompts
from parity.suite import EXPERT_PROMPTS, EXPERTS_PER_TOKEN, TASK_WEIGHTS

Logits = Callable[[Sequence[int]], Tensor]
"""Token ids -> logits [T, V]."""
Folders = Mapping[str, Path]
MAX_NEW_TOKENS = 32
STOPS = ("\n", ".", ",")
"""As in lm-eval's triviaqa."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A greedy continuation."""

    text: str
    """Up to its first stop, or to the greatest length."""
    ended: bool
    """Whether it reached a stop or the end token."""
    prefixes: tuple[str, ...]
    """The text after each token."""
    margins: tuple[float, ...]
    """Difference between the chosen and the second token, in nats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    logprobs: tuple[tuple[float, ...], ...]
    """Of each choice of each question, in nats."""
    answers: tuple[Answer, ...]


def expected(candidate: str, folders: Folders) -> Expected:
    """The candidate's expected answers to all rows."""
    logits = CANDIDATES[candidate](folders)
    tokenizer = AutoTokenizer.from_pretrained(folders["large_base"])
    with torch.inference_mode():
        return Expected(
            logprobs=tuple(
                tuple(choice_logprob(logits, tokenizer, prompt, choice) for choice in choices)
                for prompt, choices in choice_prompts()
            ),
            answers=tuple(greedy(logits, tokenizer, prompt) for prompt in word_prompts()),
        )


def choice_logprob(logits: Logits, tokenizer: Any, prompt: str, choice: str) -> float:
    whole, context = tokenizer.encode(prompt + choice), tokenizer.encode(prompt)
    assert whole[: len(context)] == context, "a token reaches over the end of the prompt"
    logprobs_TV = logits(whole[:-1]).double().log_softmax(-1)
    places = range(len(context) - 1, len(whole) - 1)
    return sum(float(logprobs_TV[place, whole[place + 1]]) for place in places)


def greedy(logits: Logits, tokenizer: Any, prompt: str) -> Answer:
    """Every token comes from a full forward pass, so no cache can be wrong."""
    ids, num_prompt = tokenizer.encode(prompt), len(tokenizer.encode(prompt))
    prefixes: list[str] = []
    margins: list[float] = []
    for _ in range(MAX_NEW_TOKENS):
        best = logits(ids)[-1].topk(2)
        ids.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
        text = tokenizer.decode(ids[num_prompt:], skip_special_tokens=True)
        prefixes.append(text)
        cuts = [at for stop in STOPS if (at := text.find(stop)) >= 0]
        if cuts or ids[-1] == tokenizer.eos_token_id:
            return Answer(
                text=text[: min(cuts, default=len(text))],
                ended=True,
                prefixes=tuple(prefixes),
                margins=tuple(margins),
            )
    return Answer(text=prefixes[-1], ended=False, prefixes=tuple(prefixes), margins=tuple(margins))


def load(folder: Path) -> Any:
    """The model of config.json's class, with eager attention, which implements caps and sinks."""
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = getattr(transformers, config.architectures[0])
    return kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def logits_of(model: Any) -> Logits:
    def forward(ids: Sequence[int]) -> Tensor:
        output = model(input_ids=torch.tensor([list(ids)]), use_cache=False)
        logits_TV: Tensor = output.logits[0]
        return logits_TV

    return forward


def single(role: str, folders: Folders) -> Logits:
    return logits_of(load(folders[role]))


def combination(weights: Mapping[str, float], folders: Folders) -> Logits:
    """Sum of weight x tensor, over all tensors of models of one shape."""
    states = {role: load(folders[role]).state_dict() for role in weights}
    model = load(folders["large_base"])
    mixed = {
        name: sum(weight * states[role][name].double() for role, weight in weights.items()).float()
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }
    model.load_state_dict(mixed, strict=False)
    return logits_of(model)


def linear(folders: Folders) -> Logits:
    return combination({"large_a": 0.5, "large_b": 0.5}, folders)


def task_arithmetic(folders: Folders) -> Logits:
    """base + sum of weight x (fine-tune - base)."""
    rest = 1 - sum(TASK_WEIGHTS.values())
    return combination({"large_base": rest, **TASK_WEIGHTS}, folders)


def swa(folders: Folders) -> Logits:
    run = [role for role in folders if role.startswith("large_run@")]
    return combination(dict.fromkeys(run, 1 / len(run)), folders)


def proxy(folders: Folders) -> Logits:
    """base + tuned - small base, on logits."""
    base, tuned, small = (
        single(role, folders) for role in ("large_base", "small_tuned", "small_base")
    )
    return lambda ids: base(ids) + tuned(ids) - small(ids)


def mixture(folders: Folders) -> Logits:
    """The base with each feed-forward block replaced by a routed sum of the experts' blocks."""
    base = load(folders["large_base"])
    rows_of = {
        role: feed_forward_inputs(base, folders, text) for role, text in EXPERT_PROMPTS.items()
    }
    experts = [load(folders[role]) for role in EXPERT_PROMPTS]
    for index, layer in enumerate(base.model.layers):
        router_ED = torch.stack([rows[index] / rows[index].norm() for rows in rows_of.values()])
        layer.mlp = RoutedSum(router_ED, [one.model.layers[index].mlp for one in experts])
    return logits_of(base)


def feed_forward_inputs(model: Any, folders: Folders, text: str) -> list[Tensor]:
    """[D] for each layer: the mean input of its feed-forward block over the text's tokens."""
    seen: list[Tensor] = []
    hooks = [
        layer.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0].mean(0)))
        for layer in model.model.layers
    ]
    ids = AutoTokenizer.from_pretrained(folders["large_base"]).encode(text)
    with torch.inference_mode():
        logits_of(model)(ids)
    for hook in hooks:
        hook.remove()
    return seen


class RoutedSum(torch.nn.Module):
    def __init__(self, router_ED: Tensor, experts: Sequence[torch.nn.Module]) -> None:
        super().__init__()
        self.router_ED, self.experts = router_ED, torch.nn.ModuleList(experts)

    def forward(self, states: Tensor) -> Tensor:
        shares = (states @ self.router_ED.T).softmax(-1)
        kept = shares.topk(EXPERTS_PER_TOKEN, dim=-1)
        weights = torch.zeros_like(shares).scatter(-1, kept.indices, kept.values)
        weights = weights / weights.sum(-1, keepdim=True)
        outputs = torch.stack([expert(states) for expert in self.experts], dim=-1)
        return (outputs * weights.unsqueeze(-2)).sum(-1)


CANDIDATES: Mapping[str, Callable[[Folders], Logits]] = {
    "large_base": lambda folders: single("large_base", folders),
    "large_a": lambda folders: single("large_a", folders),
    "large_b": lambda folders: single("large_b", folders),
    "linear": linear,
    "task": task_arithmetic,
    "swa": swa,
    "proxy": proxy,
    "mixture": mixture,
}
"""Candidate of the suite -> its logits."""
