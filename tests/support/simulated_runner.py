"""Simulates Model Runner V2's interface to logits processors."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from fused_answers import member_logits
from fused_models import TOKENIZER
from mixes import CONTEXT, NAME, Mix, logits_of, params_of
from torch import Tensor
from torch.testing import assert_close

CHUNK = 7
"""Prompt tokens that the simulated runner computes per step."""


@dataclass
class Asked:
    mix: Mix | None
    prompt: list[int]
    output: list[int] = field(default_factory=list)
    num_computed: int = 0

    @property
    def token_ids(self) -> list[int]:
        return [*self.prompt, *self.output]


@dataclass
class Buffer:
    """A tensor that CPU and GPU share, like `StagedWriteTensor` and `UvaBackedTensor`."""

    gpu: Tensor

    @property
    def np(self) -> np.ndarray[Any, Any]:
        return self.gpu.numpy()


class SimulatedRunner:
    """Calls a processor as Model Runner V2 does in `add_requests` and `prepare_inputs`.

    Indices are recycled, last freed first, and the order of rows changes at every step.
    """

    def __init__(self, base: Path, *, max_num_reqs: int, seed: int) -> None:
        from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcRequestState

        self._base = base
        self._rng = random.Random(seed)
        self._free = list(range(max_num_reqs))
        self.running: dict[int, Asked] = {}
        self.states = LogitsProcRequestState(
            device=torch.device("cpu"),
            max_num_reqs=max_num_reqs,
            vocab_size=len(TOKENIZER),
            all_token_ids=Buffer(torch.zeros(max_num_reqs, CONTEXT, dtype=torch.int32)),
            prompt_len=Buffer(torch.zeros(max_num_reqs, dtype=torch.int32)),
            prefill_len=Buffer(torch.zeros(max_num_reqs, dtype=torch.int32)),
            total_len=Buffer(torch.zeros(max_num_reqs, dtype=torch.int32)),
        )
        self.processor = load_v2(NAME)(engine_config(), self.states)

    def has_room(self) -> bool:
        return bool(self._free)

    def add(self, asked: Asked) -> int:
        index = self._free.pop()
        # Tokens of the index's last request stay in the buffer after this one's.
        self.states.all_token_ids.np[index, : len(asked.token_ids)] = asked.token_ids
        self.states.prompt_len.np[index] = len(asked.prompt)
        self.states.prefill_len.np[index] = len(asked.token_ids)
        self.states.total_len.np[index] = len(asked.token_ids)
        asked.num_computed = 0
        self.running[index] = asked
        mixed = self.processor.add_request(index, params_of(asked.mix))
        assert mixed == (asked.mix is not None)
        return index

    def remove(self, index: int) -> Asked:
        """Removes a finished or preempted request; the processor is not told."""
        self._free.append(index)
        return self.running.pop(index)

    def step(self) -> None:
        """Computes a chunk of each prompt and a token of other requests, and checks the result."""
        batch = self._rng.sample(sorted(self.running), self._rng.randint(1, len(self.running)))
        for index in batch:
            asked = self.running[index]
            asked.num_computed = min(asked.num_computed + CHUNK, len(asked.token_ids))
        base_BV = torch.stack([self._base_logits(self.running[index]) for index in batch])
        self.processor.apply_staged_writes()
        mixed_BV = self.processor.apply(base_BV.clone(), self._context(batch))
        for index, base_V, mixed_V in zip(batch, base_BV, mixed_BV, strict=True):
            self._check_and_sample(index, base_V, mixed_V)

    def warm_up(self) -> None:
        """Runs the processor on indices without a request, or whose request has ended."""
        from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext

        num = self.states.max_num_reqs
        zeros = torch.zeros(num, dtype=torch.int32)
        context = LogitsContext(
            expanded_idx_mapping=torch.arange(num),
            idx_mapping=torch.arange(num),
            idx_mapping_np=np.arange(num),
            expanded_local_pos=zeros,
            input_ids=zeros,
            pos=zeros.long(),
            seq_lens_upper_bound_np=np.ones(num, dtype=np.int32),
        )
        logits = torch.randn(num, len(TOKENIZER))
        assert self.processor.apply(logits, context).isfinite().all()

    def _base_logits(self, asked: Asked) -> Tensor:
        seen = asked.token_ids[: asked.num_computed]
        return member_logits(self._base, [seen])[0, -1].float()

    def _context(self, batch: list[int]) -> Any:
        from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext

        num_computed = [self.running[index].num_computed for index in batch]
        indices, pos = torch.tensor(batch), torch.tensor(num_computed) - 1
        return LogitsContext(
            expanded_idx_mapping=indices,
            idx_mapping=indices,
            idx_mapping_np=indices.numpy(),
            expanded_local_pos=torch.zeros(len(batch), dtype=torch.int32),
            input_ids=self.states.all_token_ids.gpu[indices, pos],
            pos=pos,
            seq_lens_upper_bound_np=np.array(num_computed, dtype=np.int32),
        )

    def _check_and_sample(self, index: int, base_V: Tensor, mixed_V: Tensor) -> None:
        asked = self.running[index]
        if asked.num_computed < len(asked.token_ids):
            return  # vLLM discards the token sampled after a chunk of a prompt.
        if asked.mix is None:
            assert torch.equal(mixed_V, base_V)
        else:
            expected_V = logits_of(self._base, asked.mix, asked.prompt, asked.output)[-1]
            assert_close(mixed_V.double(), expected_V, atol=1e-4, rtol=0)
        asked.output.append(int(mixed_V.argmax()))
        total_len = int(self.states.total_len.np[index])
        self.states.all_token_ids.np[index, total_len] = asked.output[-1]
        self.states.total_len.np[index] += 1


def engine_config(**more: Any) -> Any:
    known = {
        "model_config": SimpleNamespace(dtype=torch.float32),
        "compilation_config": SimpleNamespace(),
        "speculative_config": None,
    }
    return SimpleNamespace(**(known | more))


def load_v2(processor: Any) -> Any:
    from vllm.v1.worker.gpu.sample.logits_processor import loader

    (loaded,) = loader._load_v2_logitsprocs_by_fqcns([processor])
    return loaded
