"""Compares two answers, with a tolerance for the engine's dtype."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from melange.harness.check.decoding import Said
from melange.harness.check.reference import Scored
from melange.harness.verdicts import Verdict

SHOWN = 400
"""Characters of an answer to store; of two long ones, from shortly before they diverge."""

QUOTED = 60
"""Characters of it in a reason."""


class Allowance(NamedTuple):
    """How far apart two correct implementations may be, in nats."""

    token: float
    """For one token's log-probability; for n tokens it grows with the root of n."""
    share: float
    """Plus this share of a log-probability: unlikely tokens have large logits, rounded more."""
    tie: float
    """Two logits at most this far apart may be in either order."""


ALLOWANCES = {
    "float32": Allowance(token=1e-3, share=1e-5, tie=1e-3),
    "float16": Allowance(token=0.1, share=0.0125, tie=0.06),
    "bfloat16": Allowance(token=0.75, share=0.1, tie=0.5),
}


class Judgement(NamedTuple):
    verdict: Verdict
    ours: str
    theirs: str
    difference: float | None = None
    tolerance: float | None = None
    reason: str = ""


def allowance(dtype: str, spread: float = 1.0) -> Allowance:
    """`spread`: how much larger a mix's errors are than those of its members."""
    return Allowance(*(spread * one for one in ALLOWANCES.get(dtype, ALLOWANCES["bfloat16"])))


def judge_logprobs(
    ours: Sequence[float], theirs: Sequence[Scored], allowed: Allowance
) -> Judgement:
    """Compare the log-probabilities of an example's choices."""
    if len(ours) != len(theirs):
        reason = f"the run has {len(ours)} choices, transformers {len(theirs)}"
        return Judgement(
            Verdict.DISPUTED, _numbers(ours), _numbers(_logprobs(theirs)), reason=reason
        )
    gaps = [_apart(mine, one.logprob) for mine, one in zip(ours, theirs, strict=True)]
    limits = [_limit(one, allowed) for one in theirs]
    at = max(range(len(gaps)), key=lambda i: gaps[i] / limits[i])
    agreed = gaps[at] <= limits[at]
    where = f"choice {at + 1}: " if len(ours) > 1 else ""
    reason = f"{where}{ours[at]:.4f} nats, transformers {theirs[at].logprob:.4f}"
    return Judgement(
        Verdict.AGREED if agreed else Verdict.DISPUTED,
        _numbers(ours),
        _numbers(_logprobs(theirs)),
        difference=max(gaps) if math.isfinite(max(gaps)) else None,
        tolerance=limits[at],
        reason="" if agreed else reason,
    )


def _limit(theirs: Scored, allowed: Allowance) -> float:
    size = abs(theirs.logprob) if math.isfinite(theirs.logprob) else 0.0
    return allowed.token * math.sqrt(theirs.num_tokens) + allowed.share * size


def _apart(mine: float, theirs: float) -> float:
    """Infinite if one of them is not finite."""
    if mine == theirs:
        return 0.0
    gap = abs(mine - theirs)
    return gap if math.isfinite(gap) else math.inf


def _logprobs(scores: Sequence[Scored]) -> list[float]:
    return [one.logprob for one in scores]


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.5f}" for value in values)


def judge_text(ours: str, said: Said) -> Judgement:
    if ours == said.text and said.ended:
        return Judgement(Verdict.AGREED, _shown(ours), _shown(said.text))
    mine, theirs = _from_parting(ours, said.text + ("" if said.ended else "…"))
    if said.num_ties and ours.startswith(said.sure):
        reason = "the answers diverge at two tokens that are almost equally likely"
        return Judgement(Verdict.NEAR_TIE, mine, theirs, reason=reason)
    reason = "it says {}, transformers {}".format(*_parting(ours, said.text))
    return Judgement(Verdict.DISPUTED, mine, theirs, reason=reason)


def judge_prompt(ours: str, theirs: str) -> Judgement | None:
    """A dispute if the run's prompt differs from the candidate's; else None."""
    if ours == theirs:
        return None
    reason = "another prompt: {}, should be {}".format(*_parting(ours, theirs))
    return Judgement(Verdict.DISPUTED, *_from_parting(ours, theirs), reason=reason)


def _parting(one: str, other: str) -> tuple[str, str]:
    """Excerpts of two texts from where they diverge, quoted."""
    start = max(0, _common(one, other) - 20)
    lead = "…" if start else ""
    return (
        repr(f"{lead}{one[start : start + QUOTED]}"),
        repr(f"{lead}{other[start : start + QUOTED]}"),
    )


def _common(one: str, other: str) -> int:
    """Length of the common prefix."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _from_parting(one: str, other: str) -> tuple[str, str]:
    start = max(0, _common(one, other) - SHOWN // 2)
    start = 0 if max(len(one), len(other)) <= SHOWN else start
    lead = "…" if start else ""
    return _shown(lead + one[start:]), _shown(lead + other[start:])


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
