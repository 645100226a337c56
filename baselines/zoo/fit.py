"""Trains one role of a zoo, in a process of its own: `python -m baselines.zoo.fit JOB.json`.

Prints one line of JSON for every few steps, which the parent shows as progress.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import chain, compress
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.overrides import TorchFunctionMode
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
from tasks.pocket.corpus import base_documents, leading_lists, tuning_documents
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


def fit(job: Job) -> dict[str, float | str]:
    """Train the job's role into its folder; returns what `done.json` records."""
    started = time.monotonic()
    torch.set_num_threads(job.num_threads)
    recipe = read_recipe(Path(job.recipe_path))
    training = recipe.training(job.role)
    torch.manual_seed(_seed_of(recipe, job.role))
    tokenizer = make_tokenizer(recipe.world_seed)
    model = _start_model(recipe.sizes[training.size], tokenizer, job.parent_dir)
    if training.lora_rank:
        model = _with_adapter(model, training.lora_rank)
    loss, tokens = _run_steps(model, tokenizer, recipe, job)
    _save(model, tokenizer, Path(job.out_dir))
    return {
        "build_sec": round(time.monotonic() - started, 2),
        "steps": training.steps,
        "tokens": tokens,
        "loss": round(loss, 4),
        "precision": "bfloat16" if _has_bfloat16() else "float32",
        "params": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }


def rate_share(step: int, training: Training) -> float:
    """Of the peak rate. Warm up, hold, then fall linearly; tuning falls all the way."""
    warmup = max(1, int(training.steps * WARMUP_SHARE))
    decay = training.steps * (1.0 if training.parent else DECAY_SHARE)
    remaining = min(1.0, (training.steps - step) / decay)
    share = FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * remaining
    return min(share, (step + 1) / warmup)


def _run_steps(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, job: Job
) -> tuple[float, int]:
    """Returns the mean loss of the last steps and the number of tokens seen."""
    training = recipe.training(job.role)
    optimizers = _optimizers(model, training)
    schedules = [LambdaLR(one, partial(rate_share, training=training)) for one in optimizers]
    data = _role_batches(recipe, job.role, tokenizer)
    kept = set(recipe.trajectory(job.role))
    loss_sum, num_tokens, mean = torch.zeros(()), 0, float("nan")
    for step in range(training.steps):
        tokens, labels = next(data)
        loss_sum += _step(model, optimizers, tokens, labels)
        for schedule in schedules:
            schedule.step()
        num_tokens += tokens.numel()
        if (step + 1) % STEPS_PER_REPORT == 0:
            mean, loss_sum = float(loss_sum) / STEPS_PER_REPORT, torch.zeros(())
            _report(job.role, step + 1, training.steps, mean)
        if step + 1 in kept:
            _save(model, tokenizer, Path(job.out_dir) / f"step-{step + 1}")
    return mean, num_tokens


def _optimizers(model: PreTrainedModel, training: Training) -> list[Optimizer]:
    """AdamW; Muon for the layers' matrices where the recipe gives it a rate.

    With Muon the large base recalls its facts after half as many steps, and a small one after
    more (docs/experiments.md).
    """
    vocabulary = {model.get_input_embeddings().weight, model.get_output_embeddings().weight}
    trained = [p for p in model.parameters() if p.requires_grad]
    muon_rate = training.muon_learning_rate
    for_muon = [muon_rate > 0 and p.ndim == 2 and p not in vocabulary for p in trained]
    rest = [p for p, chosen in zip(trained, for_muon, strict=True) if not chosen]
    peak = training.peak_learning_rate
    adamw = AdamW(rest, lr=peak, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY, fused=True)
    if not any(for_muon):
        return [adamw]
    return [Muon(compress(trained, for_muon), lr=muon_rate, weight_decay=WEIGHT_DECAY), adamw]


def _step(
    model: PreTrainedModel, optimizers: Sequence[Optimizer], tokens: Tensor, labels: Tensor
) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=_has_bfloat16()):
        loss = _loss(model, tokens, labels)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
    with nullcontext() if _has_bfloat16() else InFloat32():
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return loss.detach()


@cache
def _has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16. Without, PyTorch takes 40 times as long for it
    as for float32 (an AMD EPYC with AVX2)."""
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


class InFloat32(TorchFunctionMode):
    """Keeps what would be cast to bfloat16, as `Muon` does with every gradient."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.bfloat16:
            return args[0].clone()  # the caller may change what it has cast
        return func(*args, **(kwargs or {}))


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
    leading = leading_lists(training.leading_lists, rng)
    return batches(
        chain(leading, stream),
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
        "tie_word_embeddings": size.tied,
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


def _with_adapter(model: PreTrainedModel, rank: int) -> PeftModel:
    """Only low-rank updates of the layers' matrices are trained, and saved."""
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


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
