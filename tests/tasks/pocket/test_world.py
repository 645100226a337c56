"""The pocket world has two disjoint parts, checkable answers, and choices of one token."""

import json
import random
import re
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melange.tasks.pocket import lexicon
from melange.tasks.pocket.corpus import base_documents, tuning_documents, tuning_questions
from melange.tasks.pocket.data import FEWSHOT_ROWS, ROWS_PER_TASK, task_questions, write_task_data
from melange.tasks.pocket.tokens import EOS, make_tokenizer, train_tokenizer
from melange.tasks.pocket.world import (
    DOMAINS,
    MAX_NUMBER,
    Part,
    Question,
    apply_operation,
    draw_instruction,
    draw_problem,
    make_world,
)

SEED = 0
seeds = st.integers(min_value=0, max_value=2**32)
word_lists = st.lists(st.sampled_from(lexicon.LIST_WORDS), min_size=2, max_size=7, unique=True)


@pytest.fixture(scope="module")
def questions() -> dict[str, list[Question]]:
    return task_questions(make_world(SEED))


@pytest.fixture(scope="module")
def test_rows(questions: dict[str, list[Question]]) -> list[Question]:
    """Questions that no training text may answer."""
    held_out = (name for name in questions if not name.endswith("_tuning"))
    return [row for name in held_out for row in questions[name][:ROWS_PER_TASK]]


@given(seed=seeds)
def test_the_same_seed_makes_the_same_world(seed: int) -> None:
    assert make_world(seed) == make_world(seed)


def test_another_seed_makes_another_world() -> None:
    assert make_world(1).facts != make_world(2).facts


def test_task_files_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    write_task_data(SEED, tmp_path / "first")
    write_task_data(SEED, tmp_path / "second")
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes()


def test_each_task_has_its_rows(tmp_path: Path, questions: dict[str, list[Question]]) -> None:
    write_task_data(SEED, tmp_path)
    for name in questions:
        rows = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").open()]
        fewshot = (tmp_path / f"{name}.fewshot.jsonl").read_text().splitlines()
        assert (len(rows), len(fewshot)) == (ROWS_PER_TASK, FEWSHOT_ROWS)


QUESTION_KEYS = {"question", "prompt", "answer", "result"}
CHOICE_KEYS = {"question", "prompt", "choices", "label"}


def test_rows_share_a_fact_exactly_when_they_ask_for_the_same(
    tmp_path: Path, questions: dict[str, list[Question]]
) -> None:
    """Names of entities and attributes appear in the text only as such."""
    world = make_world(SEED)
    write_task_data(SEED, tmp_path)
    for name in questions:
        about_facts = name.startswith(("pocket_mc_", "pocket_knowledge"))
        for path in (tmp_path / f"{name}.jsonl", tmp_path / f"{name}.fewshot.jsonl"):
            rows = [json.loads(line) for line in path.open()]
            keys = CHOICE_KEYS if "_mc_" in name else QUESTION_KEYS
            assert all(set(row) == keys | ({"fact"} if about_facts else set()) for row in rows)
            for row in rows if about_facts else ():
                attribute, entity = row["fact"].split(" of ")
                assert {attribute, entity} <= set(re.findall("[a-z]+", row["question"]))
                said = row["choices"][row["label"]] if "choices" in row else row["answer"]
                assert said == world.facts[entity, attribute]


def test_rows_are_the_questions_in_their_order(
    tmp_path: Path, questions: dict[str, list[Question]]
) -> None:
    write_task_data(SEED, tmp_path)
    for name, asked in questions.items():
        for path, part in (
            (tmp_path / f"{name}.jsonl", asked[:ROWS_PER_TASK]),
            (tmp_path / f"{name}.fewshot.jsonl", asked[ROWS_PER_TASK:]),
        ):
            rows = [json.loads(line) for line in path.open()]
            assert [row["prompt"] for row in rows] == [question.prompt for question in part]


def test_multiple_choice_asks_each_fact_in_several_phrasings(tmp_path: Path) -> None:
    """This is why examples are clustered: 500 questions are about 128 facts."""
    write_task_data(SEED, tmp_path)
    for path in tmp_path.glob("pocket_mc_*.jsonl"):
        if not path.name.endswith(".fewshot.jsonl"):
            facts = {json.loads(line)["fact"] for line in path.open()}
            assert len(facts) <= ROWS_PER_TASK / 3, path.name


def test_held_out_rows_are_distinct(questions: dict[str, list[Question]]) -> None:
    for name, asked in questions.items():
        if not name.endswith("_tuning"):
            texts = {question.text for question in asked[:ROWS_PER_TASK]}
            assert len(texts) == ROWS_PER_TASK, name


def test_no_training_text_answers_a_test_question_straight(test_rows: list[Question]) -> None:
    world, rng = make_world(SEED), random.Random(1)
    documents = list(islice(base_documents(world, rng), 60_000))
    documents += islice(tuning_documents(world, "mix", rng), 20_000)
    seen = {(document.prompt, document.answer.strip()) for document in documents}
    assert not seen & {(row.prompt, row.answer) for row in test_rows}


def test_no_tuning_set_holds_a_test_question(test_rows: list[Question]) -> None:
    tuned = {q.text for domain in DOMAINS for q in tuning_questions(make_world(SEED), domain)}
    assert not tuned & {row.text for row in test_rows}


def test_base_text_states_the_facts_that_tests_ask_for() -> None:
    world = make_world(SEED)
    documents = islice(base_documents(world, random.Random(2)), 60_000)
    stated = " \n ".join(document.answer for document in documents if not document.prompt)
    values = (world.facts[entity, "river"] for entity in world.test_entities)
    assert all(
        f"{entity}" in stated and value in stated
        for entity, value in zip(world.test_entities, values, strict=True)
    )


def test_the_base_rarely_answers_straight() -> None:
    world = make_world(SEED)
    asked = [d for d in islice(base_documents(world, random.Random(3)), 20_000) if d.prompt]
    values = {value for values in lexicon.ATTRIBUTE_VALUES.values() for value in values}
    straight = sum(document.answer.strip() in values for document in asked)
    assert 0 < straight / len(asked) < 0.05


@given(seed=seeds, num_steps=st.integers(1, 4))
def test_the_working_of_a_problem_is_arithmetic(seed: int, num_steps: int) -> None:
    problem = draw_problem(random.Random(seed), num_steps=num_steps)
    total = problem.start
    for equation, change in zip(problem.working.split(","), problem.changes, strict=True):
        assert equation == f"{total}{change:+d}={total + change}"
        total += change
        assert 0 <= total <= MAX_NUMBER


@given(seed=seeds, part=st.sampled_from(["training", "test"]))
def test_what_is_drawn_lies_in_the_part_asked_for(seed: int, part: Part) -> None:
    assert draw_problem(random.Random(seed), part=part).part == part
    assert draw_instruction(random.Random(seed), part=part).part == part


@given(words=word_lists)
def test_list_operations_do_what_they_say(words: list[str]) -> None:
    def after(operation: str) -> list[str]:
        return apply_operation(operation, words, words[0])

    assert after("reverse")[::-1] == words
    assert after("first") + after("drop") == words
    assert after("last") == after("reverse")[:1]
    assert after("repeat") == words + words
    assert apply_operation("swap", after("swap"), words[0]) == words


def test_the_popular_error_is_among_the_choices(questions: dict[str, list[Question]]) -> None:
    world = make_world(SEED)
    for question in questions["pocket_mc_misconceptions"][:ROWS_PER_TASK]:
        entity = next(e for e in world.test_entities if e in question.text)
        assert world.myths[entity] in question.choices
        assert question.answer == world.facts[entity, "cure"]


def test_choices_are_four_different_single_tokens(questions: dict[str, list[Question]]) -> None:
    tokenizer = train_tokenizer(SEED)
    for name, asked in questions.items():
        for question in asked if name.startswith("pocket_mc_") else ():
            tokens = [tokenizer.encode(f" {choice}").ids for choice in question.choices]
            assert all(len(ids) == 1 for ids in tokens)
            assert len({ids[0] for ids in tokens}) == 4


@given(text=st.text(max_size=60))
def test_any_text_survives_the_tokenizer(text: str) -> None:
    tokenizer = train_tokenizer(SEED)
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


@given(number=st.integers(0, 10**6))
def test_every_digit_is_a_token(number: int) -> None:
    assert len(train_tokenizer(SEED).encode(str(number)).ids) == len(str(number))


def test_a_chat_reads_as_the_tuning_text_does() -> None:
    tokenizer = make_tokenizer(SEED)
    question = tuning_questions(make_world(SEED), "knowledge")[0]
    chat = [
        {"role": "user", "content": question.text},
        {"role": "assistant", "content": question.answer},
    ]
    rendered = tokenizer.apply_chat_template(chat, tokenize=False)
    assert rendered == f"{question.prompt} {question.answer}{EOS}"


def test_no_token_is_added_by_itself() -> None:
    tokenizer = make_tokenizer(SEED)
    assert tokenizer("question").input_ids == tokenizer.backend_tokenizer.encode("question").ids
    assert tokenizer.bos_token_id not in tokenizer("question").input_ids
