"""Simulates on a CPU the memory pool that vLLM's piecewise CUDA graphs share.

vLLM cuts a compiled model into pieces at its attention layers and captures each as a graph; all
graphs allocate from one pool. The output of a model's last piece is not kept alive, so the next
graph may overwrite it (vLLM pull request 22282). Here nothing is captured: the pieces run as they
are, and before each of them, outputs of last pieces are overwritten with NaN.
"""

import os
from typing import Any, ClassVar

import torch

COMPILE_IN_PIECES = {"enforce_eager": False, "compilation_config": {"mode": 3, "backend": "eager"}}
"""Options of `LLM`."""


class Pool:
    """This process's pool: counts of pieces, and whether they overwrite earlier outputs."""

    poisons = False
    num_last_pieces = 0
    num_poisoned = 0
    handed_out: ClassVar[list[torch.Tensor]] = []


class Piece:
    def __init__(self, runnable: Any, is_last: bool) -> None:
        self._runnable = runnable
        self._is_last = is_last
        Pool.num_last_pieces += is_last

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_runnable"], name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for tensor in Pool.handed_out if Pool.poisons else ():
            tensor.fill_(float("nan"))
            Pool.num_poisoned += 1
        Pool.handed_out.clear()
        output = self._runnable(*args, **kwargs)
        if self._is_last:
            Pool.handed_out.extend(tensors_of(output))
        return output


def tensors_of(output: Any) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return [output] if output.is_floating_point() else []
    parts = output if isinstance(output, tuple | list) else ()
    return [tensor for part in parts for tensor in tensors_of(part)]


def run_in_pieces() -> None:
    """Call first in a process: its engines are then compiled as on a GPU, and share a pool."""
    os.environ |= {
        "VLLM_USE_V2_MODEL_RUNNER": "0",
        "VLLM_USE_AOT_COMPILE": "0",
        "VLLM_DISABLE_COMPILE_CACHE": "1",
    }
    import melange.harness.engines.environment  # noqa: F401 (it switches compilation off on a CPU)

    os.environ.pop("TORCH_COMPILE_DISABLE", None)
    import vllm.compilation.backends as backends

    _compile_on_a_cpu()
    # On a CPU it would add passes for which there are no kernels.
    backends.VllmBackend.configure_post_pass = lambda self: None
    backends.wrap_with_cudagraph_if_needed = lambda piece, config, compilation, first, last: Piece(
        piece, last
    )


def _compile_on_a_cpu() -> None:
    """Allows compilation, which vLLM disables on a CPU."""
    from vllm.config import CompilationMode
    from vllm.platforms import current_platform

    platform = type(current_platform)
    update = platform.check_and_update_config

    def update_the_rest(config: Any) -> None:
        update(config)
        compilation = config.compilation_config
        compilation.mode, compilation.backend = CompilationMode.VLLM_COMPILE, "eager"
        compilation.compile_sizes = compilation.compile_sizes or []
        passes = compilation.pass_config
        for name, value in vars(passes).items():
            if isinstance(value, bool):
                setattr(passes, name, False)

    platform.check_and_update_config = staticmethod(update_the_rest)
