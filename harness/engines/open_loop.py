"""Requests that reach the engine when they are due, whether or not it keeps up."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from melange.harness.requests import Streamed


@dataclass(slots=True)
class Asked:
    """A request, and what has happened to it; seconds after the loop began."""

    prompt: Any
    """As vLLM's renderer gives it."""
    params: Any
    due_sec: float
    sent_sec: float = 0.0
    piece_sec: list[float] = field(default_factory=list)
    num_tokens: int = 0


def serve(
    llm: Any, inputs: Sequence[Any], params: Sequence[Any], due_sec: Sequence[float]
) -> list[Streamed]:
    """Send each input `due_sec` after now and step the engine until all are answered.

    A request that falls due during a step is sent when the step ends, as in vLLM's own server,
    whose engine takes new requests between steps. Rendering is done beforehand: a server does it
    in another process.
    """
    # Prompts are rendered by the same private method that `LLM.generate` uses.
    rendered = [llm._preprocess_cmpl_one(one) for one in inputs]
    asked = {f"open-{at}": Asked(*one)
             for at, one in enumerate(zip(rendered, params, due_sec, strict=True))}  # fmt: skip
    try:
        _drive(llm.llm_engine, asked)
    except BaseException:
        llm.llm_engine.abort_request([*asked])
        raise
    return [
        Streamed(one.due_sec, one.sent_sec, tuple(one.piece_sec), one.num_tokens)
        for one in asked.values()
    ]


def _drive(engine: Any, asked: dict[str, Asked]) -> None:
    waiting = list(reversed(asked.items()))
    start = time.perf_counter()
    while waiting or engine.has_unfinished_requests():
        while waiting and waiting[-1][1].due_sec <= time.perf_counter() - start:
            name, one = waiting.pop()
            one.sent_sec = time.perf_counter() - start
            engine.add_request(name, one.prompt, one.params)
        if engine.has_unfinished_requests():
            _note(engine.step(), asked, time.perf_counter() - start)
        else:
            time.sleep(max(0.0, start + waiting[-1][1].due_sec - time.perf_counter()))


def _note(outputs: Sequence[Any], asked: dict[str, Asked], now_sec: float) -> None:
    for output in outputs:
        if num_tokens := len(output.outputs[0].token_ids):
            asked[output.request_id].piece_sec.append(now_sec)
            asked[output.request_id].num_tokens += num_tokens
