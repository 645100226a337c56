"""A line of rounds.jsonl."""

from typing import Annotated

from pydantic import AliasChoices, Field

from melange.harness.records import SCHEMA_VERSION, Record

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RoundLine(Record):
    """One line of rounds.jsonl: a candidate on a workload in one round; times in seconds."""

    schema_version: int = SCHEMA_VERSION
    candidate: str
    workload: str
    measured_as: str = ""
    """The first of the candidates of equal kernels whose round it is; empty: the candidate alone.
    They are timed in turn, and `candidate` was here."""
    sitting: str = ""
    """When its sitting began: rounds of one sitting were timed together. Empty in runs of older
    versions."""
    round: int = Field(ge=0)
    """From 0. Candidates take turns: all run their first round before any runs its second."""
    visit: int = Field(default=0, ge=0)
    """Within the round: the reference is timed several times in each."""
    started: str
    """ISO 8601, in UTC."""
    prompt_tokens: int
    output_tokens: int
    wall_sec: Amount
    prefill_tokens_per_sec: Amount
    decode_tokens_per_sec: Amount | None
    ttft_sec: tuple[Amount, ...]
    """Of each request: time to its first token; `latency_sec` to its last."""
    latency_sec: tuple[Amount, ...]
    tpot_sec: tuple[Amount, ...]
    """Per token after the first, of each request with more than one."""
    reference_wall_sec: Amount | None = None
    """The reference candidate's on this workload: the geometric mean of its visits just before and
    just after; in runs of older versions, its only one in this round."""
    calibration_sec: Amount | None = Field(
        default=None, validation_alias=AliasChoices("calibration_sec", "yardstick_sec")
    )
    """Of fixed work outside the engine, beside this round: a slower machine takes longer over it,
    a slower engine does not. Older lines call it `yardstick_sec`."""
    energy_joules: Amount | None = None

    @property
    def unit(self) -> str:
        """Whose round it is."""
        return self.measured_as or self.candidate
