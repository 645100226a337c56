"""Writes the rows that the pocket tasks read.

tuning     drawn from the tuning set itself: did tuning work at all?
held_out   the test part of the world, asked as tuning asks
shifted    the test part, asked in phrasings, lengths or numbers of steps never seen
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from melange.tasks.pocket import lexicon
from melange.tasks.pocket.corpus import tuning_questions
from melange.tasks.pocket.preferences import write_pairs
from melange.tasks.pocket.world import (
    DOMAINS,
    INSTRUCTION_FORMS,
    KNOWLEDGE_FORMS,
    SHIFTED_INSTRUCTION_FORMS,
    SHIFTED_KNOWLEDGE_FORMS,
    Part,
    Question,
    World,
    ask_problem,
    choice_question,
    draw_instruction,
    draw_problem,
    knowledge_questions,
    make_world,
)

ROWS_PER_TASK = 500
FEWSHOT_ROWS = 32
PLAIN_ATTRIBUTES = tuple(a for a in lexicon.ATTRIBUTE_VALUES if a != "cure")
SHIFTED_LENGTHS = (5, 6)
SHIFTED_STEPS = 3

Draw = Callable[[random.Random], Question]


def write_task_data(seed: int, dir: Path) -> None:
    """Write `NAME.jsonl` (ROWS_PER_TASK) and `NAME.fewshot.jsonl` for every task, and the pairs.

    `seed` is the world's; the same seed gives the same bytes.
    """
    dir.mkdir(parents=True, exist_ok=True)
    world = make_world(seed)
    facts = asked_facts(world)
    asked = task_questions(world)
    for name, questions in asked.items():
        write_rows(dir / f"{name}.jsonl", questions[:ROWS_PER_TASK], facts)
        write_rows(dir / f"{name}.fewshot.jsonl", questions[ROWS_PER_TASK:], facts)
    tests = {name: questions[:ROWS_PER_TASK] for name, questions in asked.items()}
    write_pairs(dir, tests, facts)


def task_questions(world: World) -> dict[str, list[Question]]:
    """ROWS_PER_TASK test questions a task, then FEWSHOT_ROWS from the training part."""
    questions: dict[str, list[Question]] = {}
    for domain in DOMAINS:
        name = f"pocket_{domain}"
        tuning = _shuffled(tuning_questions(world, domain), f"{name} tuning {world.seed}")
        fewshot = tuning[-FEWSHOT_ROWS:]
        questions[f"{name}_tuning"] = tuning[:ROWS_PER_TASK] + fewshot
    for name, shifted in ((f"pocket_{d}", s) for d in DOMAINS for s in (False, True)):
        full = f"{name}_shifted" if shifted else name
        draw = _draws(world, name, shifted)
        questions[full] = _distinct(draw, full, world.seed)
        questions[full] += questions[f"{name}_tuning"][-FEWSHOT_ROWS:]
    for subject, shifted in ((s, b) for s in lexicon.SUBJECT_ATTRIBUTES for b in (False, True)):
        full = f"pocket_mc_{subject}" + ("_shifted" if shifted else "")
        questions[full] = _choice_questions(world, full, subject, shifted)
    return questions


def asked_facts(world: World) -> dict[str, str]:
    """Question -> the fact that it asks for, in whatever phrasing."""
    # Not a field of Question: trained checkpoints are known by the code of the world, and a change
    # there trains all of them anew.
    return {
        form.format(attribute=attribute, entity=entity): f"{attribute} of {entity}"
        for entity, attribute in world.facts
        for form in KNOWLEDGE_FORMS + SHIFTED_KNOWLEDGE_FORMS
    }


def write_rows(path: Path, questions: list[Question], facts: Mapping[str, str]) -> None:
    lines = (json.dumps(_row(question, facts.get(question.text))) for question in questions)
    path.write_text("".join(f"{line}\n" for line in lines))


def _row(question: Question, fact: str | None) -> dict[str, object]:
    row: dict[str, object] = {"question": question.text, "prompt": question.prompt}
    if question.choices:
        label = question.choices.index(question.answer)
        row |= {"choices": list(question.choices), "label": label}
    else:
        # For arithmetic the working comes first; what counts is the last number.
        row |= {"answer": question.answer, "result": question.answer.split("=")[-1]}
    return row | ({"fact": fact} if fact else {})


def _draws(world: World, name: str, shifted: bool) -> Draw:
    if name == "pocket_arithmetic":
        return _draw_problem_question(SHIFTED_STEPS if shifted else 2)
    if name == "pocket_instructions":
        return _draw_shifted_instruction if shifted else _draw_instruction_question
    forms = SHIFTED_KNOWLEDGE_FORMS if shifted else KNOWLEDGE_FORMS
    pool = knowledge_questions(world, "test", PLAIN_ATTRIBUTES, forms)
    return lambda rng: rng.choice(pool)


def _draw_problem_question(num_steps: int) -> Draw:
    def draw(rng: random.Random) -> Question:
        return ask_problem(draw_problem(rng, num_steps=num_steps, part="test"), rng)

    return draw


def _draw_instruction_question(rng: random.Random) -> Question:
    item = draw_instruction(rng, part="test")
    form = rng.choice(INSTRUCTION_FORMS[item.operation])
    return Question(text=item.text(form), answer=item.answer)


def _draw_shifted_instruction(rng: random.Random) -> Question:
    # Half of the rows change the phrasing, half the length, so that both can be told apart
    # from a model that follows neither.
    if rng.random() < 0.5:
        item = draw_instruction(rng, part="test")
        return Question(
            text=item.text(SHIFTED_INSTRUCTION_FORMS[item.operation]), answer=item.answer
        )
    item = draw_instruction(rng, lengths=SHIFTED_LENGTHS, part="test")
    form = rng.choice(INSTRUCTION_FORMS[item.operation])
    return Question(text=item.text(form), answer=item.answer)


def _choice_questions(world: World, name: str, subject: str, shifted: bool) -> list[Question]:
    forms = SHIFTED_KNOWLEDGE_FORMS if shifted else KNOWLEDGE_FORMS
    test = _distinct(_draw_choice(world, subject, "test", forms), name, world.seed)
    fewshot = _draw_choice(world, subject, "training", KNOWLEDGE_FORMS)
    return test + _distinct(fewshot, f"{name} fewshot", world.seed, count=FEWSHOT_ROWS)


def _draw_choice(world: World, subject: str, part: Part, forms: tuple[str, ...]) -> Draw:
    def draw(rng: random.Random) -> Question:
        entity = rng.choice(world.part_entities(part))
        attribute = rng.choice(lexicon.SUBJECT_ATTRIBUTES[subject])
        return choice_question(world, entity, attribute, rng.choice(forms), rng)

    return draw


def _distinct(draw: Draw, name: str, seed: int, *, count: int = ROWS_PER_TASK) -> list[Question]:
    rng = random.Random(f"{name} {seed}")
    found: dict[str, Question] = {}
    while len(found) < count:
        question = draw(rng)
        found.setdefault(question.text, question)
    return list(found.values())


def _shuffled(questions: list[Question], seed: str) -> list[Question]:
    return random.Random(seed).sample(questions, len(questions))
