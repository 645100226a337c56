"""Public tasks on random words, in the datasets' schemas and of about their lengths.

MMLU: five worked examples, the same for all questions of a subject; the choices are letters.
ARC-Challenge: examples drawn for each question; the choices are phrases, scored whole.
"""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines import Entries

from melange.tasks.public.local import local_dataset, members
from melange.tasks.registry import load_tasks

LETTERS = ("A", "B", "C", "D")
SYMBOLS = (*LETTERS, "Question", "Answer", ":", ".")
WORDS = [f"w{index}" for index in range(8192 - 2 - len(SYMBOLS))]
SHOTS = 5


def mmlu(out: Path, *, questions: int) -> Entries:
    """One subject of MMLU."""
    draw = random.Random(0)
    rows = [_mmlu_row(draw) for _ in range(questions + SHOTS)]
    splits = {"dev": rows[:SHOTS], "test": rows[SHOTS:]}
    return _entries("mmlu", "mmlu_anatomy", splits, out)


def arc(out: Path, *, questions: int) -> Entries:
    draw = random.Random(0)
    splits = {
        split: [_arc_row(draw) for _ in range(num)]
        for split, num in (("train", 50), ("validation", SHOTS), ("test", questions))
    }
    return _entries("arc_challenge", "arc_challenge", splits, out)


def _mmlu_row(draw: random.Random) -> Mapping[str, Any]:
    return {
        "question": _words(draw, 20, 80),
        "choices": [_words(draw, 2, 12) for _ in LETTERS],
        "answer": draw.randrange(len(LETTERS)),
    }


def _arc_row(draw: random.Random) -> Mapping[str, Any]:
    choices = {"text": [_words(draw, 3, 12) for _ in LETTERS], "label": list(LETTERS)}
    return {
        "question": _words(draw, 10, 40),
        "choices": choices,
        "answerKey": draw.choice(LETTERS),
    }


def _words(draw: random.Random, shortest: int, longest: int) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(shortest, longest)))


def _entries(
    task: str, part: str, splits: Mapping[str, Sequence[Mapping[str, Any]]], out: Path
) -> Entries:
    """The registry's entry with local files, as from MELANGE_DATA."""
    (out / part).mkdir()
    for split, rows in splits.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (out / part / f"{split}.jsonl").write_text(lines)
    entry = load_tasks()[task]
    entry = next(one for one in members(entry) if Path(one.lm_eval).stem == part)
    entry = entry.model_copy(update={"num_fewshot": SHOTS})
    return {entry.name: (entry, [{"include": entry.lm_eval, **(local_dataset(entry, out) or {})}])}
