"""Chooses each candidate's engine from the options asked for, or says why there is none."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from melange.harness.checkpoints.configs import common_config, declared, read_config, text_config
from melange.harness.checkpoints.info import CheckpointInfo
from melange.harness.checkpoints.quantization import unserved as unserved_weights
from melange.harness.contracts import Zoo
from melange.harness.engine_shapes import SHORT_CONTEXT, Work, shape_of
from melange.harness.engines.limits import unserved
from melange.harness.errors import HarnessError
from melange.harness.loads import Load
from melange.harness.machine import lacks_for
from melange.harness.prompt_lengths import PromptLengths
from melange.harness.records import Candidate, EngineOptions, EngineShape, Workload
from melange.harness.requests import Length

READ_OF_ANY = {
    "sliding_window": "max_position_embeddings",
    "num_key_value_heads": "num_attention_heads",
}
"""Key -> the key whose value makes it neutral."""


def requested(
    candidate: Candidate, zoo: Zoo, *, suite: EngineOptions, command_line: EngineOptions
) -> EngineOptions:
    """The command line's options over the roles' over the suite's.

    Raises:
        HarnessError: two of the candidate's roles ask for different values.
    """
    found: dict[str, tuple[str, object]] = {}
    for role in candidate.recipe.inputs:
        if Path(role).is_absolute() or role not in zoo.roles:
            continue
        for option, value in zoo.engine(role).given().items():
            other, known = found.setdefault(option, (role, value))
            if known != value and option not in command_line.given():
                raise HarnessError(
                    f"{role} asks for {option}={value}, {other} for {option}={known}; "
                    f"name one for all: --{option.replace('_', '-')}"
                )
    of_roles = EngineOptions(**{option: value for option, (_, value) in found.items()})
    return command_line.over(of_roles.over(suite))


def unfit(options: EngineOptions, served: Sequence[CheckpointInfo], device: str) -> str:
    """Why no engine can have these options; empty if one can, as far as is known."""
    longest = min((one.context_length for one in served), default=None)
    if options.max_model_len and longest and options.max_model_len > longest:
        return (
            f"max_model_len={options.max_model_len}: {served[0].path.name} attends to at most "
            f"{longest} tokens"
        )
    needed = one_request_bytes(options, served)
    if options.kv_cache_memory_bytes and needed > options.kv_cache_memory_bytes:
        return (
            f"kv_cache_memory_bytes={options.kv_cache_memory_bytes}: one request takes "
            f"{needed} bytes; raise it, or lower max_model_len"
        )
    if options.gpu_memory_utilization and device == "cpu":
        return "gpu_memory_utilization says nothing on a CPU; use kv_cache_memory_bytes"
    reasons = [unserved_weights(one.quantization, one.dtype, device) for one in served]
    reasons += [lacks_for(one.dtype) for one in served if device == "cpu"]
    if options.quantization and device == "cpu":
        reasons.insert(0, _unquantized(options.quantization, served))
    least = min(longest or SHORT_CONTEXT, SHORT_CONTEXT)
    return next(filter(None, reasons), "") or beyond_limits(served, device, options, least)


def beyond_limits(
    served: Sequence[CheckpointInfo], device: str, options: EngineOptions, max_model_len: int
) -> str:
    """Why vLLM would fail or compute wrongly; empty if it would not."""
    for one in served:
        config = read_config(one.path)
        reason = stray_key(config) or unserved(
            common_config(config),
            device=device,
            dtype=one.dtype,
            kv_cache_dtype=options.kv_cache_dtype or "auto",
            max_model_len=options.max_model_len or max_model_len,
        )
        if reason:
            return f"{one.path.name}: {reason}"
    return ""


def stray_key(config: Mapping[str, Any]) -> str:
    """Why a key of config.json, which vLLM reads for any model, does not fit the model's class."""
    text = text_config(config)
    known = declared(str(text.get("model_type")))
    for key, neutral in READ_OF_ANY.items():
        value = text.get(key)
        if known and value and key not in known.defaults and value != text.get(neutral):
            return (
                f"config.json has {key}={value}, which vLLM applies and "
                f"{config['architectures'][0]} in transformers ignores; remove it"
            )
    return ""


def _unquantized(method: str, served: Sequence[CheckpointInfo]) -> str:
    """On a CPU, vLLM accepts the option but does not quantize."""
    for one in served:
        if one.quantization.split(" ")[0] != method:
            stored = f"is {one.quantization}" if one.quantization else "is not quantized"
            return (
                f"quantization={method}: {one.path.name} {stored}, and vLLM does not quantize on a "
                "CPU; leave the option out"
            )
    return ""


def too_short(task: str, lengths: Mapping[str, Length], options: EngineOptions) -> str:
    """Why the context length asked for is too short for the task; empty if it is not."""
    given, length = options.max_model_len, lengths.get(task)
    if given is None or length is None or length.prompt < given:
        return ""
    return (
        f"max_model_len={given}: the longest prompt of {task} has {length.prompt} tokens, and "
        f"{length.total - length.prompt} may follow"
    )


def one_request_bytes(options: EngineOptions, served: Sequence[CheckpointInfo]) -> int:
    """KV cache bytes of one request with the shortest context length that will be served."""
    if not served:
        return 0
    tokens = options.max_model_len or min(SHORT_CONTEXT, *(one.context_length for one in served))
    return tokens * sum(one.kv_bytes_per_token for one in served)


class EngineChoice(NamedTuple):
    """Chooses the engines of a run's candidates."""

    device: str
    workloads: Sequence[Workload]
    lengths: PromptLengths
    memory_bytes: int | None
    """Total memory of the device; None if unknown."""

    def shape(
        self, served: Sequence[CheckpointInfo], load: Load, options: EngineOptions
    ) -> EngineShape:
        """
        Raises:
            HarnessError: only some of the models have weights, or the tasks' prompts are longer
                than the engine can compute correctly.
        """
        work = Work(
            self.longest(load.tokenizer, served, options), self.workloads, self.memory_bytes
        )
        shape = shape_of(served, load.start, self.device, options, work)
        if reason := beyond_limits(served, self.device, options, shape.max_model_len):
            raise HarnessError(reason)
        return shape

    def longest(
        self, tokenizer: Path, served: Sequence[CheckpointInfo], options: EngineOptions
    ) -> int | None:
        """Tokens of the tasks' longest request; None if the context does not depend on it."""
        if options.max_model_len or min(one.context_length for one in served) <= SHORT_CONTEXT:
            return None
        return max((one.total for one in self.lengths.of(tokenizer).values()), default=0)
