"""The questions of `make parity`: ten with choices, three with free answers.

Rows 9 and 10 with choices and the last question in words are longer than a window.
"""

from __future__ import annotations

import json
from pathlib import Path

SHORT = (
    ("Which of these grows on a tree?", ("a pear", "a spade", "a kettle")),
    ("Which metal is the lightest?", ("tin", "lead", "aluminium", "iron")),
    ("A crate holds 12 jars. How many do 3 crates hold?", ("4", "15", "36", "123")),
    ("Where does the river run?", ("to the sea", "to the north - up there", "sea", "nowhere")),
    ("What does a baker sell?", ("bread", "bread and bread", "a roof", "the small hours")),
    ("Two answers begin alike. Which is true?", ("a day has 24 hours", "a day has 25 hours")),
    ("Complete: red, green,", ("blue", "seven", "{}", "[0, 1]")),
    ("Who mends shoes?", ("a cobbler", "a miller", "a glazier", "a fletcher", "a chandler")),
)
STORY = (
    "The ferry left the quay at six, with two carts of salt, a crate of lamps and a goat. "
    "The miller counted his sacks twice and found one more each time. Past the second lock the "
    "water was high, and the ferryman told them how his father had once carried a bell across, "
    "so heavy that the deck lay under water and the goats stood on the rail. "
)
LONG = (
    (STORY + STORY + "What did the father carry across?", ("a bell", "a goat", "a sack of salt")),
    (STORY + "When did the ferry leave?", ("at six", "at noon", "after the goat")),
)
IN_WORDS = (
    "What is the river called",
    "Which tool cuts wood, and which one cuts stone",
    STORY + "How many sacks did the miller have",
)
TEXTS = (*(text for text, _ in (*SHORT, *LONG)), *IN_WORDS)


def write_rows(root: Path) -> Path:
    """Writes files for MELANGE_DATA, in the schemas of arc_easy and triviaqa."""
    _write(root / "arc_easy" / "test.jsonl", [_with_choices(*row) for row in (*SHORT, *LONG)])
    _write(root / "triviaqa" / "validation.jsonl", [_in_words(text) for text in IN_WORDS])
    return root


def choice_prompts() -> list[tuple[str, tuple[str, ...]]]:
    """Prompt and continuations of each question, as lm-eval renders arc_easy."""
    return [
        (f"Question: {text}\nAnswer:", tuple(f" {choice}" for choice in choices))
        for text, choices in (*SHORT, *LONG)
    ]


def word_prompts() -> list[str]:
    """As lm-eval renders triviaqa."""
    return [f"Question: {text}?\nAnswer:" for text in IN_WORDS]


def _with_choices(text: str, choices: tuple[str, ...]) -> dict[str, object]:
    labels = list("ABCDE"[: len(choices)])
    return {"question": text, "choices": {"text": list(choices), "label": labels}, "answerKey": "A"}


def _in_words(text: str) -> dict[str, object]:
    return {"question": text, "answer": {"aliases": ["nobody knows"]}}


def _write(file: Path, rows: list[dict[str, object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row | {"id": str(index)}) for index, row in enumerate(rows)]
    file.write_text("\n".join(lines) + "\n")
