"""Callbacks for each step of the engines in this process."""

import functools
from collections.abc import Callable
from typing import Any

Heard = Callable[[], None]


def watch_steps(*, done: Heard, failed: Heard) -> None:
    """Call `done` after each step that computed tokens, `failed` where a step raises.

    A step that raises leaves its requests in the scheduler. Another call to that engine never
    returns: it keeps stepping without scheduling a token.
    """
    from vllm.v1.engine.core import EngineCore
    from vllm.v1.engine.llm_engine import LLMEngine

    _wrap(EngineCore, "step", functools.partial(_counted, done))
    _wrap(EngineCore, "step_with_batch_queue", functools.partial(_counted, done))
    _wrap(LLMEngine, "step", functools.partial(_guarded, failed))


def _wrap(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    method = getattr(owner, name)
    method = getattr(method, "__wrapped__", method)  # only the last watcher remains

    @functools.wraps(method)
    def watched(self: Any) -> Any:
        return wrapper(method, self)

    setattr(owner, name, watched)


def _counted(done: Heard, step: Callable[[Any], Any], engine: Any) -> Any:
    outputs, has_computed = step(engine)
    if has_computed:
        done()
    return outputs, has_computed


def _guarded(failed: Heard, step: Callable[[Any], Any], engine: Any) -> Any:
    try:
        return step(engine)
    except BaseException:
        failed()
        raise
