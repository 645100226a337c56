"""Requests that reach the engine when they are due, whether or not it keeps up."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from melange.harness.requests import Streamed


class Sent(NamedTuple):
    due_sec: float
    sent_sec: float
    pieces: list[tuple[float, int]]
    """Seconds and number of tokens."""


def serve(
    llm: Any, inputs: Sequence[Any], params: Sequence[Any], due_sec: Sequence[float]
) -> list[Streamed]:
    """Send each input `due_sec` after now and step the engine until all are answered.

    A request that falls due during a step is sent when the step ends, as in vLLM's own server,
    whose engine takes new requests between steps. Rendering is done beforehand: a server does it
    in another process.
    """
    engine = llm.llm_engine
    rendered = [llm._preprocess_cmpl_one(one) for one in inputs]
    sent: dict[str, Sent] = {}
    start = time.perf_counter()
    try:
        while len(sent) < len(rendered) or engine.has_unfinished_requests():
            _send_due(engine, rendered, params, due_sec, sent, start)
            if engine.has_unfinished_requests():
                _note(engine.step(), sent, time.perf_counter() - start)
            else:
                _wait_until(start + due_sec[len(sent)])
    except BaseException:
        engine.abort_request([*sent])
        raise
    return [_streamed(one) for one in sent.values()]


def _send_due(
    engine: Any,
    rendered: Sequence[Any],
    params: Sequence[Any],
    due_sec: Sequence[float],
    sent: dict[str, Sent],
    start: float,
) -> None:
    while len(sent) < len(rendered) and due_sec[len(sent)] <= time.perf_counter() - start:
        at = len(sent)
        name = f"open-{at}"
        sent[name] = Sent(due_sec[at], time.perf_counter() - start, [])
        engine.add_request(name, rendered[at], params[at])


def _note(outputs: Sequence[Any], sent: dict[str, Sent], now_sec: float) -> None:
    for output in outputs:
        if num_tokens := len(output.outputs[0].token_ids):
            sent[output.request_id].pieces.append((now_sec, num_tokens))


def _wait_until(moment: float) -> None:
    if (left := moment - time.perf_counter()) > 0:
        time.sleep(left)


def _streamed(one: Sent) -> Streamed:
    seconds, tokens = zip(*one.pieces, strict=True)
    return Streamed(one.due_sec, one.sent_sec, seconds, sum(tokens))
