"""Compares a candidate's samples with the expected answers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from parity.references import Answer, Expected

SILENT_NATS = 1e-3
"""A larger difference does not come from float32."""
NEAR_TIE = 1e-3
"""If two tokens are this close (nats), either may be the greedy one."""


class Difference(NamedTuple):
    nats: float
    """The largest difference between two log-probabilities of a choice."""
    num_answers: int
    num_equal: int

    @property
    def is_silent(self) -> bool:
        return not self.nats <= SILENT_NATS or self.num_equal < self.num_answers


def compare(expected: Expected, samples: Path) -> Difference:
    """`samples` is the candidate's folder in a run."""
    choices = pq.read_table(samples / "arc_easy.parquet").to_pylist()
    words = pq.read_table(samples / "triviaqa.parquet").to_pylist()
    gaps = [
        abs(mine - theirs)
        for row, wanted in zip(choices, expected.logprobs, strict=True)
        for mine, theirs in zip(row["logprobs"], wanted, strict=True)
    ]
    pairs = list(zip(words, expected.answers, strict=True))
    return Difference(
        nats=max(gaps, key=lambda gap: (gap != gap, gap)),  # NaN is the worst
        num_answers=len(pairs),
        num_equal=sum(is_equal(row["response"], answer) for row, answer in pairs),
    )


def is_equal(response: str, answer: Answer) -> bool:
    """Whether they are equal to the end, to where the reference stops, or to a near-tie."""
    wanted = answer.text.strip()
    if response == wanted if answer.ended else response.startswith(wanted):
        return True
    apart = next(
        (
            step
            for step, prefix in enumerate(answer.prefixes)
            if not response.startswith(prefix.strip())
        ),
        len(answer.prefixes) - 1,
    )
    return min(answer.margins[: apart + 1]) < NEAR_TIE
