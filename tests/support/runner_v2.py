"""Selects vLLM's runner for a process; to be called before it imports vllm, torch or triton."""

import os
from functools import cache
from types import SimpleNamespace
from typing import Any

VARIABLE = "VLLM_USE_V2_MODEL_RUNNER"


def use_v1() -> None:
    os.environ[VARIABLE] = "0"


def use_v2() -> None:
    os.environ[VARIABLE] = "1"


def use_v2_on_a_cpu() -> None:
    """Model Runner V2 is written in Triton, whose interpreter needs no GPU but is slow."""
    use_v2()
    os.environ["TRITON_INTERPRET"] = "1"
    from triton.backends import backends

    # vLLM's CPU build uses Triton only if it can compile for CPUs; the interpreter cannot.
    backends["cpu"] = SimpleNamespace(driver=SimpleNamespace(is_active=lambda: True))


@cache
def allow_async_scheduling() -> None:
    """To be called later. vLLM disables it on CPUs, where it gains nothing."""
    from vllm.platforms import current_platform

    platform = type(current_platform)
    update = platform.check_and_update_config

    def update_the_rest(config: Any) -> None:
        is_async = config.scheduler_config.async_scheduling
        update(config)
        config.scheduler_config.async_scheduling = is_async

    platform.check_and_update_config = staticmethod(update_the_rest)
