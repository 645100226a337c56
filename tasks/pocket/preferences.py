"""Pairs of answers to one question, of which one is better: what a reward model has to tell apart.

knowledge      the fact against another value of the same attribute
arithmetic     the working against one whose last number is wrong
instructions   the operation done against the list as it stands
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from melange.tasks.pocket import lexicon
from melange.tasks.pocket.world import DOMAINS, Domain, Question

SPLITS = {"preferences": "pocket_{}", "preferences_tuning": "pocket_{}_tuning"}
"""File of pairs -> the task that its questions are of."""
LARGEST_SLIP = 3


def write_pairs(
    dir: Path, questions: Mapping[str, Sequence[Question]], facts: Mapping[str, str]
) -> None:
    """Write `NAME.jsonl` for each split, the domains in turn, so that any first rows have all."""
    for name, task in SPLITS.items():
        asked = [[(domain, one) for one in questions[task.format(domain)]] for domain in DOMAINS]
        rng = random.Random(name)
        rows = [
            _row(domain, question, facts.get(question.text, ""), rng)
            for together in zip(*asked, strict=False)
            for domain, question in together
        ]
        lines = (json.dumps(row) for row in rows)
        (dir / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def _row(domain: Domain, question: Question, fact: str, rng: random.Random) -> dict[str, str]:
    worse = {"knowledge": other_value, "arithmetic": slip, "instructions": undone}[domain]
    return {
        "prompt": question.prompt,
        "chosen": f" {question.answer}",
        "rejected": f" {worse(question, rng)}",
        "domain": domain,
        "fact": fact,
    }


def other_value(question: Question, rng: random.Random) -> str:
    """Values belong to one attribute each."""
    values = next(own for own in lexicon.ATTRIBUTE_VALUES.values() if question.answer in own)
    return rng.choice([one for one in values if one != question.answer])


def slip(question: Question, rng: random.Random) -> str:
    working, _, result = question.answer.rpartition("=")
    near = range(max(0, int(result) - LARGEST_SLIP), int(result) + LARGEST_SLIP + 1)
    return f"{working}={rng.choice([one for one in near if one != int(result)])}"


def undone(question: Question, rng: random.Random) -> str:
    """The list is the longest run of list words; `drop` also names one of them apart."""
    words = question.text.replace(".", " ").replace("?", " ").split()
    grouped = groupby(words, key=lambda word: word in lexicon.LIST_WORDS)
    runs = [list(run) for is_listed, run in grouped if is_listed]
    longest = max(runs, key=len)
    return " ".join(longest)
