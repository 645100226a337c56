"""Loads and runs models of transformers for the check, in float32 if that fits."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from melange.harness.checkpoints.weight_files import read_json

Tokens = Sequence[int]
Model = Any
"""A causal language model of transformers; the library is not typed."""

BATCH_TOKENS = 4096
BATCH_BYTES = 2**29
"""Limit of a batch's logits: with a large vocabulary they take most of the memory."""
ROOM = 0.4
"""Share of the free memory that a model's weights in float32 may take."""


class UncheckableError(Exception):
    """Transformers cannot answer for this candidate; the message says why."""


class Made(NamedTuple):
    """A model, and the folder whose tokenizer and generation settings are the candidate's."""

    model: Model
    folder: Path
    how: str
    """How it was made, in a few words."""


def load_model(folder: Path, *, device: str) -> Model:
    """The folder's model, in evaluation mode.

    In float32 if that fits, so that errors of the engine's dtype are on one side only; else in the
    files' dtype.

    Raises:
        UncheckableError: its weights are random, or lack parameters.
    """
    if read_json(folder / "config.json").get("load_format") == "dummy":
        raise UncheckableError("its weights are random, drawn by the engine")
    model, found = AutoModelForCausalLM.from_pretrained(
        folder, dtype=_dtype(folder, device), local_files_only=True, output_loading_info=True
    )
    if missing := sorted(found["missing_keys"]):
        # Transformers would initialize them at random, with a warning.
        raise UncheckableError(f"transformers does not find {missing[0]} in its files")
    return model.to(device).eval()


def _dtype(folder: Path, device: str) -> torch.dtype | str:
    num_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    wide = num_bytes * 4 / file_dtype(folder).itemsize
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available
    return torch.float32 if wide < ROOM * free else "auto"


def computed_in(folder: Path) -> torch.dtype:
    """config.json's dtype, which may be wider than the files'; else the files'."""
    config = read_json(folder / "config.json")
    for part in (config, config.get("text_config") or {}):
        named = part.get("dtype") or part.get("torch_dtype")
        if isinstance(found := getattr(torch, str(named), None), torch.dtype):
            return found
    return file_dtype(folder)


def file_dtype(folder: Path) -> torch.dtype:
    """Dtype of the first floating-point tensor in the files; float32 if there is none."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (no mapping)
                dtype = tensors.get_slice(name).get_dtype()
                if dtype in NAMES:
                    return NAMES[dtype]
    return torch.float32


NAMES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}
"""By the names in safetensors files."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, local_files_only=True
    )
    return tokenizer


def end_tokens(folder: Path, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that end generation: those of generation_config.json, else config.json, and the
    tokenizer's."""
    config = read_json(folder / "config.json")
    named = _generation(folder).get("eos_token_id")
    if named is None:
        named = config.get("eos_token_id", config.get("text_config", {}).get("eos_token_id"))
    found = named if isinstance(named, list) else [named]
    return frozenset(int(one) for one in (*found, tokenizer.eos_token_id) if one is not None)


def context_length(model: Model) -> int | None:
    """The model's context length in tokens; None if its config sets no limit."""
    config = model.config.get_text_config()
    for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        if isinstance(value := getattr(config, key, None), int):
            return value
    return None


@torch.inference_mode()
def last_logits(model: Model, sequences: Sequence[Tokens], keep: Sequence[int]) -> list[Tensor]:
    """Logits after the last `keep[i]` tokens of each sequence, [keep, V] in float32 on the CPU."""
    found: list[Tensor] = [torch.empty(0)] * len(sequences)
    for batch in _batches(model, sequences):
        rows = [sequences[i] for i in batch]
        width = max(map(len, rows))
        # Padding on the right does not affect what a causal model computes before it.
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        logits = model(input_ids=ids, attention_mask=mask.to(model.device), use_cache=False).logits
        for row, i in enumerate(batch):
            end = len(sequences[i])
            found[i] = logits[row, end - keep[i] : end].float().cpu()
    return found


def _batches(model: Model, sequences: Sequence[Tokens]) -> Iterator[list[int]]:
    """Indices of sequences of similar length, to be computed together."""
    vocabulary = model.config.get_text_config().vocab_size
    most = max(1, min(BATCH_TOKENS, BATCH_BYTES // (4 * vocabulary)))
    batch: list[int] = []
    for i in sorted(range(len(sequences)), key=lambda i: len(sequences[i])):
        if batch and (len(batch) + 1) * len(sequences[i]) > most:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _generation(folder: Path) -> dict[str, Any]:
    file = folder / "generation_config.json"
    return read_json(file) if file.is_file() else {}
