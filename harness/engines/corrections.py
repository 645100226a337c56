"""Corrects what vLLM 0.32 computes wrongly, before an engine starts."""

from functools import cache
from pathlib import Path
from typing import Any

from melange.harness.checkpoints.weight_files import read_json


def correct(checkpoint: Path, device: str) -> None:
    if "BloomForCausalLM" in (read_json(checkpoint / "config.json").get("architectures") or ()):
        _approximate_gelu()
    if device == "cpu":
        _spare_generators()


@cache
def _approximate_gelu() -> None:
    """BLOOM uses the tanh approximation of GELU. With vLLM's exact GELU, log-probabilities were off
    by 3e-3 nats after two layers."""
    from vllm.model_executor.layers.activation import get_act_fn
    from vllm.model_executor.models import bloom

    bloom.get_act_fn = lambda name: get_act_fn("gelu_pytorch_tanh")


@cache
def _spare_generators() -> None:
    """vLLM discards a token sampled before its prompt is complete, and rewinds the seeded generator
    by its offset, which a CPU generator lacks. So such rows sample without their generator."""
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    sample, sync = GPUModelRunner._sample, GPUModelRunner._bookkeeping_sync

    def sample_with_the_others(runner: Any, *arguments: Any, **options: Any) -> Any:
        thrown_away = runner.discard_request_mask.np[: runner.input_batch.num_reqs].nonzero()[0]
        generators = runner.input_batch.generators
        runner.spared = {row: generators.pop(row) for row in thrown_away.tolist()
                         if row in generators}  # fmt: skip
        return sample(runner, *arguments, **options)

    def sync_and_put_back(runner: Any, *arguments: Any, **options: Any) -> Any:
        found = sync(runner, *arguments, **options)
        runner.input_batch.generators.update(runner.spared)
        return found

    GPUModelRunner._sample = sample_with_the_others
    GPUModelRunner._bookkeeping_sync = sync_and_put_back
