"""Requests of open loops, as a run keeps them."""

from pydantic import Field

from melange.harness.records import SCHEMA_VERSION, Record
from melange.harness.round_line import Amount


class OpenLoopLine(Record):
    """One line of open_loops.jsonl: a candidate's requests in one repetition of an open loop, in
    the order in which they were due. Seconds count from the start of the repetition."""

    schema_version: int = SCHEMA_VERSION
    candidate: str
    workload: str
    repetition: int = Field(ge=0)
    started: str
    """ISO 8601, in UTC."""
    due_sec: tuple[Amount, ...]
    """When each request was to be sent; latencies count from here."""
    sent_sec: tuple[Amount, ...]
    """When the engine took it."""
    piece_sec: tuple[tuple[Amount, ...], ...]
    """When each piece of its output came: a token, or several that one step accepted."""
    num_tokens: tuple[int, ...]
    """Of its output."""
