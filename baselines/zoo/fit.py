"""Trains one role of a zoo, in a process of its own: `python -m baselines.zoo.fit JOB.json`.

Prints one line of JSON for every few steps, which the parent shows as progress.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from baselines.zoo.batches import IGNORED, batches
from baselines.zoo.recipe import Recipe, Size, Training, read_recipe
from tasks.pocket.corpus import base_documents, tuning_documents
from tasks.pocket.tokens import make_tokenizer
from tasks.pocket.world import make_world

WARMUP_SHARE = 0.04
DECAY_SHARE = 0.25  # the rest is held: averages of a trajectory need weights at a full rate
FINAL_RATE_SHARE = 0.05
WEIGHT_DECAY = 0.01
MAX_GRADIENT_NORM = 1.0
BALANCE_COEFFICIENT = 0.02  # of the loss that spreads tokens over the experts
STEPS_PER_REPORT = 10
CONTEXT_TOKENS = 256  # the longest rows of a batch: no model has seen a later position


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All paths are absolute; `parent_dir` is where a tuned role starts from."""

    recipe_path: str
    role: str
    out_dir: str
    parent_dir: str | None
    num_threads: int


def fit(job: Job) -> dict[str, float]:
    """Train the job's role into its folder; returns what `done.json` records."""
    started = time.monotonic()
    torch.set_num_threads(job.num_threads)
    recipe = read_recipe(Path(job.recipe_path))
    training = recipe.training(job.role)
    torch.manual_seed(_seed_of(recipe, job.role))
    tokenizer = make_tokenizer(recipe.world_seed)
    model = _start_model(recipe.sizes[training.size], tokenizer, job.parent_dir)
    loss, tokens = _run_steps(model, tokenizer, recipe, job)
    _save(model, tokenizer, Path(job.out_dir))
    return {
        "build_sec": round(time.monotonic() - started, 2),
        "steps": training.steps,
        "tokens": tokens,
        "loss": round(loss, 4),
        "params": sum(parameter.numel() for parameter in model.parameters()),
    }


def learning_rate(step: int, training: Training) -> float:
    """Warm up, hold, then fall linearly; tuning falls all the way from its peak."""
    warmup = max(1, int(training.steps * WARMUP_SHARE))
    decay = training.steps * (1.0 if training.parent else DECAY_SHARE)
    remaining = min(1.0, (training.steps - step) / decay)
    share = FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * remaining
    return training.peak_learning_rate * min(share, (step + 1) / warmup)


def _run_steps(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, job: Job
) -> tuple[float, int]:
    """Returns the mean loss of the last steps and the number of tokens seen."""
    training = recipe.training(job.role)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY, fused=True
    )
    data = _role_batches(recipe, job.role, tokenizer)
    kept = set(recipe.trajectory(job.role))
    loss_sum, num_tokens, mean = torch.zeros(()), 0, float("nan")
    for step in range(training.steps):
        tokens, labels = next(data)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, training)
        loss_sum += _step(model, optimizer, tokens, labels)
        num_tokens += tokens.numel()
        if (step + 1) % STEPS_PER_REPORT == 0:
            mean, loss_sum = float(loss_sum) / STEPS_PER_REPORT, torch.zeros(())
            _report(job.role, step + 1, training.steps, mean)
        if step + 1 in kept:
            _save(model, tokenizer, Path(job.out_dir) / f"step-{step + 1}")
    return mean, num_tokens


def _step(
    model: PreTrainedModel, optimizer: torch.optim.Optimizer, tokens: Tensor, labels: Tensor
) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        loss = _loss(model, tokens, labels)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def _loss(model: PreTrainedModel, tokens: Tensor, labels: Tensor) -> Tensor:
    mixture = isinstance(model, MixtralForCausalLM)
    extra = {"output_router_logits": True} if mixture else {}
    output = model(input_ids=tokens, use_cache=False, **extra)
    targets = labels[:, 1:]
    chosen = targets != IGNORED
    loss = cross_entropy(output.logits[:, :-1][chosen].float(), targets[chosen])
    return loss + BALANCE_COEFFICIENT * output.aux_loss if mixture else loss


def _role_batches(
    recipe: Recipe, role: str, tokenizer: PreTrainedTokenizerFast
) -> Iterator[tuple[Tensor, Tensor]]:
    training = recipe.training(role)
    world = make_world(recipe.world_seed)
    # Base models of every size read the same text in the same order.
    rng = random.Random(f"{training.data} {recipe.seed}")
    is_base = training.data == "base"
    stream = base_documents(world, rng) if is_base else tuning_documents(world, training.data, rng)
    return batches(
        stream,
        tokenizer.backend_tokenizer,
        batch_tokens=recipe.batch_tokens,
        row_tokens=recipe.row_tokens,
        answers_only=not is_base,
    )


def _start_model(
    size: Size, tokenizer: PreTrainedTokenizerFast, parent_dir: str | None
) -> PreTrainedModel:
    # Fused attention is several times slower backward on a CPU at these lengths.
    if parent_dir is not None:
        return LlamaForCausalLM.from_pretrained(
            parent_dir, dtype=torch.float32, attn_implementation="eager"
        )
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": size.width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.kv_heads,
        "intermediate_size": size.ffn,
        "max_position_embeddings": CONTEXT_TOKENS,
        "tie_word_embeddings": False,
        "attn_implementation": "eager",
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if not size.num_experts:
        return LlamaForCausalLM(LlamaConfig(**shape))
    experts = {
        "num_local_experts": size.num_experts,
        "num_experts_per_tok": size.experts_per_token,
    }
    return MixtralForCausalLM(MixtralConfig(**shape, **experts))


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _seed_of(recipe: Recipe, role: str) -> int:
    return random.Random(f"{role} {recipe.seed}").getrandbits(32)


def _report(role: str, step: int, steps: int, loss: float) -> None:
    print(json.dumps({"role": role, "step": step, "steps": steps, "loss": loss}), flush=True)


def main() -> None:
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    done = fit(job)
    (Path(job.out_dir) / "fit.json").write_text(json.dumps({**asdict(job), **done}))


if __name__ == "__main__":
    main()
