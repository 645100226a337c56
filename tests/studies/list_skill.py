"""Measures how well a checkpoint of the pocket zoo completes described lists, its last skill.

    python tests/studies/list_skill.py baselines/zoo/pocket/large_base FOLDER …

Prints the share of lists, by operation, of which greedy predictions get every token right. The text
is like the bases' training text, so a recipe may be chosen by it. docs/experiments.md has figures.
"""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from melange.tasks.pocket.corpus import DESCRIBED_LISTS  # noqa: E402
from melange.tasks.pocket.world import Instruction, draw_instruction  # noqa: E402

NUM_LISTS = 400
SEED = 5


def main(folders: list[str]) -> int:
    for folder in folders:
        shares = list_skill(Path(folder))
        print(folder, ", ".join(f"{name} {share:.2f}" for name, share in shares.items()))
    return 0


@torch.inference_mode()
def list_skill(folder: Path) -> dict[str, float]:
    """Operation -> share of lists completed without a mistake."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rng, right = random.Random(SEED), defaultdict(list)
    for _ in range(NUM_LISTS):
        item = draw_instruction(rng)
        given, whole = texts(item)
        ids = tokenizer(whole, return_tensors="pt").input_ids
        start = len(tokenizer(given).input_ids)
        guesses = model(ids).logits[0, start - 1 : -1].argmax(-1)
        right[item.operation].append(torch.equal(guesses, ids[0, start:]))
    return {name: mean(right[name]) for name in sorted(right)}


def texts(item: Instruction) -> tuple[str, str]:
    """A described list up to its answer, and with it."""
    form = DESCRIBED_LISTS[item.operation]
    given = form.partition(" {a}")[0].format(w=" ".join(item.words), x=item.word)
    return given, f"{given} {item.answer}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
