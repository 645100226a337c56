"""Trains one role of a zoo in a process of its own: `python -m melange.baselines.zoo.fit JOB`.

Prints one line of JSON for every few steps, which the parent shows as progress. Every so many
steps all that training depends on is saved beside the weights, so that a killed one goes on from
there and ends with the weights of an uninterrupted one, to the bit.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import version
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.overrides import TorchFunctionMode
from transformers import MixtralForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from melange.baselines.zoo.batches import IGNORED, batches
from melange.baselines.zoo.models import save_model, start_model, with_adapter
from melange.baselines.zoo.recipe import Recipe, Training, parse_recipe
from melange.baselines.zoo.train import RESUME
from melange.harness.machine import cpu_name
from melange.tasks.pocket.corpus import base_documents, leading_lists, tuning_documents
from melange.tasks.pocket.tokens import make_tokenizer
from melange.tasks.pocket.world import make_world

WARMUP_SHARE = 0.04
DECAY_SHARE = 0.25  # the rest is held: averages of a trajectory need weights at a full rate
FINAL_RATE_SHARE = 0.05
WEIGHT_DECAY = 0.01
MAX_GRADIENT_NORM = 1.0
BALANCE_COEFFICIENT = 0.02  # of the loss that spreads tokens over the experts
STEPS_PER_REPORT = 10
STEPS_PER_POINT = 50  # of the loss curve
STEPS_PER_SAVE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All paths are absolute; `parent_dir` is where a tuned role starts from."""

    recipe: Mapping[str, Any]
    role: str
    out_dir: str
    parent_dir: str | None
    num_threads: int


@dataclass(slots=True)
class Course:
    """A training under way, and all that its next step depends on but the text."""

    model: PreTrainedModel
    optimizers: list[Optimizer]
    schedules: list[LambdaLR]
    step: int = 0
    loss_sum: Tensor = field(default_factory=lambda: torch.zeros(()))
    """Over the steps since the last report."""
    loss: float = float("nan")
    """Mean of the last report."""
    curve: list[tuple[int, float]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    """Earlier by what processes that were killed had taken."""

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [one.state_dict() for one in self.optimizers],
            "schedules": [one.state_dict() for one in self.schedules],
            "random": torch.get_rng_state(),
            "counts": (self.step, self.loss_sum, self.loss, self.curve),
            "seconds": time.monotonic() - self.started,
        }
        scratch = path.with_suffix(".partial")
        torch.save(state, scratch)
        os.replace(scratch, path)

    def resume(self, path: Path) -> None:
        state = torch.load(path)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for schedule, saved in zip(self.schedules, state["schedules"], strict=True):
            schedule.load_state_dict(saved)
        torch.set_rng_state(state["random"])
        self.step, self.loss_sum, self.loss, self.curve = state["counts"]
        self.started -= state["seconds"]


def fit(job: Job) -> dict[str, Any]:
    """Train the job's role into its folder; returns what `done.json` records."""
    torch.set_num_threads(job.num_threads)
    recipe = parse_recipe(job.recipe)
    training = recipe.training(job.role)
    torch.manual_seed(_seed_of(recipe, job.role))
    tokenizer = make_tokenizer(recipe.world_seed)
    model = start_model(recipe.sizes[training.size], tokenizer, job.parent_dir)
    if training.lora_rank:
        model = with_adapter(model, training.lora_rank)
    course = _run_steps(model, tokenizer, recipe, job)
    save_model(model, tokenizer, Path(job.out_dir))
    return {
        "build_sec": round(time.monotonic() - course.started, 2),
        "steps": training.steps,
        "tokens": training.steps * recipe.batch_tokens,
        "loss": round(course.loss, 4),
        "curve": course.curve,
        "precision": "bfloat16" if _has_bfloat16() else "float32",
        "params": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        "processor": cpu_name(),
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
) -> Course:
    """Train from where an earlier process of this job was killed, or from the start."""
    training, out = recipe.training(job.role), Path(job.out_dir)
    optimizers = _optimizers(model, training)
    schedules = [LambdaLR(one, partial(rate_share, training=training)) for one in optimizers]
    course = Course(model, optimizers, schedules)
    if (out / RESUME).is_file():
        course.resume(out / RESUME)
    kept = set(recipe.trajectory(job.role))
    data = islice(_role_batches(recipe, job.role, tokenizer), course.step, training.steps)
    for tokens, labels in data:
        _take_step(course, tokens, labels)
        if course.step % STEPS_PER_REPORT == 0:
            _report(job.role, course, training.steps)
        if course.step in kept:
            save_model(model, tokenizer, out / f"step-{course.step}")
        if course.step % STEPS_PER_SAVE == 0:
            course.save(out / RESUME)
    return course


def _take_step(course: Course, tokens: Tensor, labels: Tensor) -> None:
    course.loss_sum += _step(course.model, course.optimizers, tokens, labels)
    for schedule in course.schedules:
        schedule.step()
    course.step += 1
    if course.step % STEPS_PER_REPORT == 0:
        course.loss = float(course.loss_sum) / STEPS_PER_REPORT
        course.loss_sum = torch.zeros(())
    if course.step % STEPS_PER_POINT == 0:
        course.curve.append((course.step, round(course.loss, 4)))


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


def _seed_of(recipe: Recipe, role: str) -> int:
    return random.Random(f"{role} {recipe.seed}").getrandbits(32)


def _report(role: str, course: Course, steps: int) -> None:
    line = {"role": role, "step": course.step, "steps": steps, "loss": course.loss}
    print(json.dumps(line), flush=True)


def main() -> None:
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    (Path(job.out_dir) / "fit.json").write_text(json.dumps(fit(job)))


if __name__ == "__main__":
    main()
