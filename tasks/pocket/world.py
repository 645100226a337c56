"""A seeded world that feeds both training text and tasks.

The world is divided before any text is written: half of the entities, and a fifth of all
problems and lists, are kept for tests. Base text may state everything about both halves, but
only the training half is ever asked and answered straight. So a test asks whether a model can
say what it knows, not whether it has seen the answer sheet.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

from melange.tasks.pocket import lexicon

Domain = Literal["knowledge", "arithmetic", "instructions"]
Part = Literal["training", "test"]
DOMAINS: tuple[Domain, ...] = ("knowledge", "arithmetic", "instructions")

NUM_ENTITIES = 256
MAX_NUMBER = 49
TEST_FRACTION = 5  # one problem or list in five belongs to the tests

KNOWLEDGE_FORMS = (
    "what is the {attribute} of {entity}?",
    "which {attribute} does {entity} have?",
    "name the {attribute} of {entity}.",
    "{entity} has which {attribute}?",
)
SHIFTED_KNOWLEDGE_FORMS = (
    "of {entity}, what is the {attribute}?",
    "please name the {attribute} which {entity} does have.",
    "the {attribute} of {entity} is what?",
    "tell me which {attribute} {entity} has.",
)

PROBLEM_FORMS = (
    "{person} has {start} {things}, {steps}. how many now?",
    "how many {things} are left when {person} has {start}, {steps}?",
)

# {w}: the list, {x}: one word of it.
INSTRUCTION_FORMS: dict[str, tuple[str, ...]] = {
    "reverse": ("reverse the list {w}.", "write {w} backwards."),
    "first": ("what is the first word of {w}?", "name the first of {w}."),
    "last": ("what is the last word of {w}?", "name the last of {w}."),
    "drop": ("drop {x} from the list {w}.", "write {w} without {x}."),
    "repeat": ("repeat the list {w} twice.", "write {w} two times."),
    "swap": ("swap the first and the last of {w}.", "write {w} with the ends swapped."),
}
SHIFTED_INSTRUCTION_FORMS: dict[str, str] = {
    "reverse": "please write the list {w} backwards.",
    "first": "which word is the first of the list {w}?",
    "last": "which word is the last of the list {w}?",
    "drop": "write the list {w}, but drop {x}.",
    "repeat": "write the list {w} twice.",
    "swap": "write the list {w}, but swap the first and the last.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question with its straight answer; `choices` is empty unless it is multiple choice."""

    text: str
    answer: str
    choices: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        return render_prompt(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A story of gains and losses; every intermediate number lies in 0..MAX_NUMBER."""

    start: int
    changes: tuple[int, ...]

    @property
    def part(self) -> Part:
        return part_of(f"{self.start} {self.changes}")

    @property
    def working(self) -> str:
        """The steps in equations, for instance `17+25=42,42-8=34`."""
        total, equations = self.start, []
        for change in self.changes:
            equations.append(f"{total}{change:+d}={total + change}")
            total += change
        return ",".join(equations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """An operation on a list of distinct words; `word` is the one that `drop` drops."""

    operation: str
    words: tuple[str, ...]
    word: str

    @property
    def part(self) -> Part:
        # Only the text of `drop` names the word: for the others it must not tell parts apart.
        word = self.word if self.operation == "drop" else ""
        return part_of(f"{self.operation} {self.words} {word}")

    @property
    def answer(self) -> str:
        return " ".join(apply_operation(self.operation, list(self.words), self.word))

    def text(self, form: str) -> str:
        return form.format(w=" ".join(self.words), x=self.word)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Entities with one value for each attribute, and a popular error about each cure."""

    seed: int
    training_entities: tuple[str, ...]
    test_entities: tuple[str, ...]
    facts: dict[tuple[str, str], str] = field(repr=False)
    myths: dict[str, str] = field(repr=False)

    @property
    def entities(self) -> tuple[str, ...]:
        return self.training_entities + self.test_entities

    @property
    def popularity(self) -> list[float]:
        """How often the web speaks of each of `entities`: with the root of the rank, as a tail."""
        half = len(self.training_entities)
        return [(1 + index % half) ** -0.5 for index in range(len(self.entities))]

    def part_entities(self, part: Part) -> tuple[str, ...]:
        return self.training_entities if part == "training" else self.test_entities


def make_world(seed: int, *, num_entities: int = NUM_ENTITIES) -> World:
    rng = random.Random(f"world {seed}")
    entities = rng.sample(_entity_names(), num_entities)
    facts = {
        (entity, attribute): rng.choice(values)
        for entity in entities
        for attribute, values in lexicon.ATTRIBUTE_VALUES.items()
    }
    cures = lexicon.ATTRIBUTE_VALUES["cure"]
    myths = {e: rng.choice([c for c in cures if c != facts[e, "cure"]]) for e in entities}
    half = num_entities // 2
    return World(
        seed=seed,
        training_entities=tuple(entities[:half]),
        test_entities=tuple(entities[half:]),
        facts=facts,
        myths=myths,
    )


def render_prompt(text: str) -> str:
    """The form in which every question is asked, in training text and in tasks alike."""
    return f"question: {text}\nanswer:"


def part_of(key: str) -> Part:
    """Which part of the world a problem or list belongs to, whatever the seed."""
    # crc32 and not hash(): the latter changes from one process to the next.
    return "test" if zlib.crc32(key.encode()) % TEST_FRACTION == 0 else "training"


def apply_operation(operation: str, words: list[str], word: str) -> list[str]:
    match operation:
        case "reverse":
            return words[::-1]
        case "first":
            return words[:1]
        case "last":
            return words[-1:]
        case "drop":
            return [w for w in words if w != word]
        case "repeat":
            return words * 2
        case "swap":
            return [words[-1], *words[1:-1], words[0]]
    raise AssertionError(f"unknown operation {operation!r}")


def draw_problem(rng: random.Random, *, num_steps: int = 2, part: Part | None = None) -> Problem:
    """A problem of the given part, or of either part where `part` is None."""
    while True:
        problem = _any_problem(rng, num_steps)
        if part is None or problem.part == part:
            return problem


def draw_instruction(
    rng: random.Random, *, lengths: tuple[int, ...] = (3, 4), part: Part | None = None
) -> Instruction:
    """An instruction of the given part, or of either part where `part` is None."""
    while True:
        words = tuple(rng.sample(lexicon.LIST_WORDS, rng.choice(lengths)))
        operation = rng.choice(list(INSTRUCTION_FORMS))
        instruction = Instruction(operation=operation, words=words, word=rng.choice(words))
        if part is None or instruction.part == part:
            return instruction


def ask_problem(problem: Problem, rng: random.Random) -> Question:
    return Question(text=problem_text(problem, rng), answer=problem.working)


def problem_text(problem: Problem, rng: random.Random) -> str:
    return rng.choice(PROBLEM_FORMS).format(
        person=rng.choice(lexicon.PERSONS),
        things=rng.choice(lexicon.THINGS),
        start=problem.start,
        steps=story_steps(problem, rng),
    )


def story_steps(problem: Problem, rng: random.Random) -> str:
    told = [
        f"{rng.choice(lexicon.GAIN_VERBS if change > 0 else lexicon.LOSS_VERBS)} {abs(change)}"
        for change in problem.changes
    ]
    return ", ".join(told[:-1]) + f" and {told[-1]}"


def knowledge_questions(
    world: World, part: Part, attributes: tuple[str, ...], forms: tuple[str, ...]
) -> list[Question]:
    """Every question of these attributes about the entities of one part, in fixed order."""
    return [
        Question(
            text=form.format(attribute=attribute, entity=entity),
            answer=world.facts[entity, attribute],
        )
        for entity, attribute, form in product(world.part_entities(part), attributes, forms)
    ]


def choice_question(
    world: World, entity: str, attribute: str, form: str, rng: random.Random
) -> Question:
    """Four values of the attribute; where there is a popular error, it is one of them."""
    answer = world.facts[entity, attribute]
    wrong = [v for v in lexicon.ATTRIBUTE_VALUES[attribute] if v != answer]
    if attribute == "cure":
        myth = world.myths[entity]
        others = [myth, *rng.sample([v for v in wrong if v != myth], 2)]
    else:
        others = rng.sample(wrong, 3)
    choices = [answer, *others]
    rng.shuffle(choices)
    text = form.format(attribute=attribute, entity=entity)
    return Question(text=text, answer=answer, choices=tuple(choices))


def _any_problem(rng: random.Random, num_steps: int) -> Problem:
    start = total = rng.randint(3, 30)
    changes = []
    for _ in range(num_steps):
        gain = rng.randint(1, 9)
        change = gain if total + gain <= MAX_NUMBER and rng.random() < 0.5 else -gain
        if total + change < 0:
            change = gain
        total += change
        changes.append(change)
    return Problem(start=start, changes=tuple(changes))


def _entity_names() -> list[str]:
    taken = set(_all_lexicon_words())
    vowels, starts, middles = "aeiou", "bdgkmprtvz", "dklmnrvz"
    names = (a + b + c + d + "n" for a, b, c, d in product(starts, vowels, middles, vowels))
    return sorted(set(names) - taken)


def _all_lexicon_words() -> Iterator[str]:
    for values in lexicon.ATTRIBUTE_VALUES.values():
        yield from values
    yield from lexicon.LIST_WORDS + lexicon.PERSONS + lexicon.THINGS
