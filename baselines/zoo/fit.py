"""Trains one role of a zoo in a process of its own: `python -m melange.baselines.zoo.fit JOB`.

Every `STEPS_PER_REPORT` steps it prints a line of JSON, which the parent process shows as progress.
Every `STEPS_PER_SAVE` steps it saves its whole state, so that a killed training resumes from there
and ends with bit-identical weights.
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
from melange.baselines.zoo.spec import Training, ZooSpec, parse_spec
from melange.baselines.zoo.train import RESUME
from melange.harness.machine import cpu_name
from melange.tasks.pocket.corpus import base_documents, leading_lists, tuning_documents
from melange.tasks.pocket.tokens import make_tokenizer
from melange.tasks.pocket.world import make_world

WARMUP_SHARE = 0.04
DECAY_SHARE = 0.25  # before it the rate is constant, as averages of a trajectory need it
FINAL_RATE_SHARE = 0.05
WEIGHT_DECAY = 0.01
MAX_GRADIENT_NORM = 1.0
BALANCE_COEFFICIENT = 0.02  # of the load-balancing loss
STEPS_PER_REPORT = 10
STEPS_PER_POINT = 50  # of the loss curve
STEPS_PER_SAVE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All paths are absolute; `parent_dir` is the checkpoint that a tuned role starts from."""

    spec: Mapping[str, Any]
    role: str
    out_dir: str
    parent_dir: str | None
    num_threads: int


@dataclass(slots=True)
class TrainingState:
    """Everything that the next training step depends on, except for the text."""

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
    """Moved back by the seconds of earlier processes that were killed."""

    def save(self, path: Path) -> None:
        """Atomically: a killed process leaves no partial file under this name."""
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
    """Train the job's role into its folder; return what `done.json` records."""
    torch.set_num_threads(job.num_threads)
    spec = parse_spec(job.spec)
    training = spec.training(job.role)
    torch.manual_seed(_seed_of(spec, job.role))
    tokenizer = make_tokenizer(spec.world_seed)
    model = start_model(spec.sizes[training.size], tokenizer, job.parent_dir)
    if training.lora_rank:
        model = with_adapter(model, training.lora_rank)
    state = _run_steps(model, tokenizer, spec, job)
    save_model(model, tokenizer, Path(job.out_dir))
    return {
        "build_sec": round(time.monotonic() - state.started, 2),
        "steps": training.steps,
        "tokens": training.steps * spec.batch_tokens,
        "loss": round(state.loss, 4),
        "curve": state.curve,
        "precision": "bfloat16" if _has_bfloat16() else "float32",
        "params": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        "processor": cpu_name(),
    }


def rate_share(step: int, training: Training) -> float:
    """Learning rate as a share of its peak: warm-up, constant, linear decay. Tuning has no constant
    part."""
    warmup = max(1, int(training.steps * WARMUP_SHARE))
    decay = training.steps * (1.0 if training.parent else DECAY_SHARE)
    remaining = min(1.0, (training.steps - step) / decay)
    share = FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * remaining
    return min(share, (step + 1) / warmup)


def _run_steps(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, spec: ZooSpec, job: Job
) -> TrainingState:
    """Train from the start, or from the last saved state of a killed process of this job."""
    training, out = spec.training(job.role), Path(job.out_dir)
    optimizers = _optimizers(model, training)
    schedules = [LambdaLR(one, partial(rate_share, training=training)) for one in optimizers]
    state = TrainingState(model, optimizers, schedules)
    if (out / RESUME).is_file():
        state.resume(out / RESUME)
    kept = set(spec.trajectory(job.role))
    data = islice(_role_batches(spec, job.role, tokenizer), state.step, training.steps)
    for tokens, labels in data:
        _take_step(state, tokens, labels)
        if state.step % STEPS_PER_REPORT == 0:
            _report(job.role, state, training.steps)
        if state.step in kept:
            save_model(model, tokenizer, out / f"step-{state.step}")
        if state.step % STEPS_PER_SAVE == 0:
            state.save(out / RESUME)
    return state


def _take_step(state: TrainingState, tokens: Tensor, labels: Tensor) -> None:
    state.loss_sum += _step(state.model, state.optimizers, tokens, labels)
    for schedule in state.schedules:
        schedule.step()
    state.step += 1
    if state.step % STEPS_PER_REPORT == 0:
        state.loss = float(state.loss_sum) / STEPS_PER_REPORT
        state.loss_sum = torch.zeros(())
    if state.step % STEPS_PER_POINT == 0:
        state.curve.append((state.step, round(state.loss, 4)))


def _optimizers(model: PreTrainedModel, training: Training) -> list[Optimizer]:
    """AdamW; Muon for the layers' matrices where the spec gives it a rate.

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
    """Whether the processor has bfloat16 instructions. Without them, PyTorch takes 40 times as long
    as in float32 (an AMD EPYC with AVX2)."""
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


class InFloat32(TorchFunctionMode):
    """Turns casts to bfloat16 into no-ops; `Muon` casts every gradient."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.bfloat16:
            return args[0].clone()  # the caller may modify its cast tensor in place
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
    spec: ZooSpec, role: str, tokenizer: PreTrainedTokenizerFast
) -> Iterator[tuple[Tensor, Tensor]]:
    training = spec.training(role)
    world = make_world(spec.world_seed)
    # Base models of every size read the same text in the same order.
    rng = random.Random(f"{training.data} {spec.seed}")
    is_base = training.data == "base"
    stream = base_documents(world, rng) if is_base else tuning_documents(world, training.data, rng)
    leading = leading_lists(training.leading_lists, rng)
    return batches(
        chain(leading, stream),
        tokenizer.backend_tokenizer,
        batch_tokens=spec.batch_tokens,
        row_tokens=spec.row_tokens,
        answers_only=not is_base,
    )


def _seed_of(spec: ZooSpec, role: str) -> int:
    return random.Random(f"{role} {spec.seed}").getrandbits(32)


def _report(role: str, state: TrainingState, steps: int) -> None:
    line = {"role": role, "step": state.step, "steps": steps, "loss": state.loss}
    print(json.dumps(line), flush=True)


def main() -> None:
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    (Path(job.out_dir) / "fit.json").write_text(json.dumps(fit(job)))


if __name__ == "__main__":
    main()
