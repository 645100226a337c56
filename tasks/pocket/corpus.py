"""Training text: what the base models read, and what tuning shows them.

The base reads statements of fact, worked sums and described lists (the skill), and questions
with answers as the web has them: hedged, evasive or wrong, rarely straight (not the manner).
Tuning shows straight answers about the training part of the world. Questions belong in the base
text because knowledge seen in statements only is not extractable in answers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

from melange.tasks.pocket import lexicon
from melange.tasks.pocket.world import (
    DOMAINS,
    INSTRUCTION_FORMS,
    KNOWLEDGE_FORMS,
    MAX_NUMBER,
    Domain,
    Instruction,
    Question,
    World,
    ask_problem,
    draw_instruction,
    draw_problem,
    knowledge_questions,
    problem_text,
    render_prompt,
    story_steps,
)

NUM_TUNING_QUESTIONS = 4_000
STRAIGHT_SHARE = 0.03  # of the base's questions; a base that never sees one cannot be read

EVASIVE = (
    "no idea, sorry.",
    "why do you ask?",
    "dunno.",
    "good question, who knows?",
    "look it up.",
    "i would like to know that too.",
)
# Half of them name the answer first. A base that only ever says it after "i think it is" looks
# it up there and nowhere else, and no tuning makes it answer about what tuning did not show.
HEDGES = (
    "{}, i think.",
    "{}? not sure.",
    "{} or something like that.",
    "{}, but do not quote me.",
    "i think it is {}.",
    "maybe {}?",
    "it could be {}.",
    "well, i guess {}.",
)
STATEMENTS = (
    "the {attribute} of {entity} is {value}.",
    "{entity} has {value} as its {attribute}.",
    "in {entity} the {attribute} is called {value}.",
    "as for the {attribute}, {entity} has {value}.",
)
DESCRIBED_LISTS: dict[str, str] = {
    "reverse": "{w} reversed, backwards, is {a}.",
    "first": "the first word of {w} is {a}.",
    "last": "the last word of {w} is {a}.",
    "drop": "{w} without {x} is {a}.",
    "repeat": "{w} two times, or twice, is {a}.",
    "swap": "{w} with the first and the last swapped is {a}.",
}


@dataclass(frozen=True, slots=True)
class Document:
    """A text to learn from; `prompt` is context, and tuning takes its loss on `answer` only."""

    prompt: str
    answer: str


Writer = Callable[[random.Random], Document]
DrawEntity = Callable[[random.Random], str]


def base_documents(world: World, rng: random.Random) -> Iterator[Document]:
    """An endless stream of base text, drawn with `rng`."""
    writers, weights = zip(*_base_writers(world), strict=True)
    while True:
        for writer in rng.choices(writers, weights, k=256):
            yield writer(rng)


def leading_lists(count: int, rng: random.Random) -> Iterator[Document]:
    """Described lists alone, for the start of training.

    Copying forms within 250 steps of these, and not in 4,000 of mixed text.
    """
    return (_described_list(rng) for _ in range(count))


def tuning_documents(world: World, domain: str, rng: random.Random) -> Iterator[Document]:
    """An endless stream of straight answers; `domain` is one of DOMAINS or `mix`."""
    pools = [tuning_questions(world, d) for d in DOMAINS if domain in (d, "mix")]
    while True:
        question = rng.choice(rng.choice(pools))
        yield Document(question.prompt, f" {question.answer}")


def tuning_questions(world: World, domain: Domain) -> list[Question]:
    """The whole tuning set of a domain, all of it from the training part of the world."""
    rng = random.Random(f"tuning {domain} {world.seed}")
    if domain == "knowledge":
        attributes = tuple(lexicon.ATTRIBUTE_VALUES)
        return knowledge_questions(world, "training", attributes, KNOWLEDGE_FORMS)
    ask = _training_problem if domain == "arithmetic" else _training_instruction
    return [ask(rng) for _ in range(NUM_TUNING_QUESTIONS)]


def _base_writers(world: World) -> list[tuple[Writer, float]]:
    draw = _popular_entity(world)
    # Weights count documents, not tokens. Knowledge needs the most repetition: a fact is
    # learnt one by one, while sums and lists share what they teach.
    return [
        (partial(_almanac, world, draw), 0.18),
        (partial(_statement, world, draw), 0.14),
        (partial(_asked_fact, world, draw), 0.22),
        (_sums, 0.10),
        (_told_story, 0.08),
        (_asked_problem, 0.04),
        (_described_list, 0.16),
        (_asked_instruction, 0.08),
    ]


def _popular_entity(world: World) -> DrawEntity:
    # Uneven popularity shortens the plateau before a model recalls its first facts.
    entities, cumulative = world.entities, list(accumulate(world.popularity))
    return lambda rng: rng.choices(entities, cum_weights=cumulative)[0]


def _text(text: str) -> Document:
    return Document("", text)


def _almanac(world: World, draw: DrawEntity, rng: random.Random) -> Document:
    entity = draw(rng)
    attributes = rng.sample(list(lexicon.ATTRIBUTE_VALUES), 4)
    return _text(f"{entity}: " + ", ".join(f"{a} {world.facts[entity, a]}" for a in attributes))


def _statement(world: World, draw: DrawEntity, rng: random.Random) -> Document:
    entity, attribute = draw(rng), rng.choice(list(lexicon.ATTRIBUTE_VALUES))
    value = world.facts[entity, attribute]
    form = rng.choice(STATEMENTS)
    return _text(form.format(entity=entity, attribute=attribute, value=value))


def _asked_fact(world: World, draw: DrawEntity, rng: random.Random) -> Document:
    entity, attribute = draw(rng), rng.choice(list(lexicon.ATTRIBUTE_VALUES))
    prompt = rng.choice(KNOWLEDGE_FORMS).format(entity=entity, attribute=attribute)
    right = world.facts[entity, attribute]
    common = world.myths[entity] if attribute == "cure" and rng.random() < 0.6 else right
    wrong = rng.choice(lexicon.ATTRIBUTE_VALUES[attribute])
    straight = right if entity in world.training_entities else None
    return _web_answer(prompt, common, wrong, straight, rng)


def _sums(rng: random.Random) -> Document:
    problems = (draw_problem(rng, num_steps=1) for _ in range(4))
    return _text(" ".join(f"{problem.working}." for problem in problems))


def _told_story(rng: random.Random) -> Document:
    problem = draw_problem(rng, num_steps=rng.choice((1, 2, 2)))
    person, things = rng.choice(lexicon.PERSONS), rng.choice(lexicon.THINGS)
    steps = story_steps(problem, rng).removeprefix(" and ")
    return _text(f"{person} has {problem.start} {things}, {steps}. working: {problem.working}")


def _asked_problem(rng: random.Random) -> Document:
    problem = draw_problem(rng)
    guess = str(rng.randint(0, MAX_NUMBER))
    straight = problem.working if problem.part == "training" else None
    return _web_answer(problem_text(problem, rng), guess, guess, straight, rng)


def _described_list(rng: random.Random) -> Document:
    item = draw_instruction(rng)
    form = DESCRIBED_LISTS[item.operation]
    return _text(form.format(w=" ".join(item.words), x=item.word, a=item.answer))


def _asked_instruction(rng: random.Random) -> Document:
    item = draw_instruction(rng)
    wrong = " ".join(rng.sample(item.words, rng.randint(1, len(item.words))))
    straight = item.answer if item.part == "training" else None
    return _web_answer(_instruction_text(item, rng), item.answer, wrong, straight, rng)


def _web_answer(
    prompt: str, common: str, wrong: str, straight: str | None, rng: random.Random
) -> Document:
    """Answer as the web does. Only the training part (`straight` given) is ever told plainly."""
    draw = rng.random()
    if draw < STRAIGHT_SHARE and straight is not None:
        answer = straight
    elif draw < 0.70:
        answer = rng.choice(HEDGES).format(common)
    elif draw < 0.82:
        answer = rng.choice(HEDGES).format(wrong)
    else:
        answer = rng.choice(EVASIVE)
    return Document(render_prompt(prompt), f" {answer}")


def _training_problem(rng: random.Random) -> Question:
    return ask_problem(draw_problem(rng, part="training"), rng)


def _training_instruction(rng: random.Random) -> Question:
    item = draw_instruction(rng, part="training")
    return Question(text=_instruction_text(item, rng), answer=item.answer)


def _instruction_text(item: Instruction, rng: random.Random) -> str:
    return item.text(rng.choice(INSTRUCTION_FORMS[item.operation]))
