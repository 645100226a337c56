"""The run's self-check: its references are transformers' answers, its verdicts are right."""

import json
import math
import random
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from checkpoint_makers import make_llama
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from melange.harness.check.decoding import Said, Wanted, decode_greedily
from melange.harness.check.judge import (
    ALLOWANCES,
    allowance,
    judge_logprobs,
    judge_prompt,
    judge_text,
)
from melange.harness.check.models import UncheckableError, load_model
from melange.harness.check.recipes import reference_of
from melange.harness.check.reference import Reference, Scored
from melange.harness.check.sampling import choose, one_each
from melange.harness.check.subject import Subject
from melange.harness.recipes.logit_mix import LogitMix, Member
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, Recipe
from melange.harness.runs.reader import read_checks
from melange.harness.runs.samples import samples_hash
from melange.harness.verdicts import Check, Verdict, tally

NUMBERED = st.dictionaries(st.integers(0, 99), st.integers(1, 99), max_size=9)
LENGTHS = st.dictionaries(st.sampled_from("abcde"), NUMBERED)


@given(lengths=LENGTHS, number=st.integers(1, 12), seed=st.text(max_size=3))
def test_the_longest_and_the_shortest_are_among_the_examples(
    lengths: dict[str, dict[int, int]], number: int, seed: str
) -> None:
    chosen = choose(lengths, number, seed=seed)
    total = sum(map(len, lengths.values()))
    assert len(set(chosen)) == len(chosen) == min(number, total)
    assert chosen == choose(lengths, number, seed=seed)
    sizes = [lengths[task][at] for task, at in chosen]
    known = [size for task in lengths.values() for size in task.values()]
    if number >= 2 and total:
        assert (max(sizes), min(sizes)) == (max(known), min(known))


def test_examples_come_from_as_many_tasks_as_there_are() -> None:
    lengths = {f"task{i}": dict.fromkeys(range(100), 10) for i in range(7)}
    lengths["ends"] = {0: 1, 1: 99}
    assert len({task for task, _ in choose(lengths, 8, seed="0")}) == 7
    assert {task for task, _ in one_each(lengths, seed="0")} == set(lengths)
    assert choose(lengths, 8, seed="0") != choose(lengths, 8, seed="1")


@pytest.mark.parametrize("dtype", ALLOWANCES)
def test_log_probabilities_may_differ_by_what_the_dtype_costs(dtype: str) -> None:
    allowed = allowance(dtype)._replace(share=0.0)
    theirs = [Scored(-1.0, 1), Scored(-2.0, 4)]
    verdicts = {
        gap: judge_logprobs([-1.0, -2.0 + gap * allowed.token], theirs, allowed).verdict
        for gap in (0, 1.9, -1.9, 2.1, math.inf, math.nan)
    }
    agreed = {gap for gap, verdict in verdicts.items() if verdict is Verdict.AGREED}
    assert agreed == {0, 1.9, -1.9}  # four tokens are allowed twice the error of one


def test_unlikely_tokens_and_sums_of_models_may_differ_by_more() -> None:
    allowed = allowance("bfloat16")
    near, far = ([Scored(logprob, 1)] for logprob in (-1.0, -20.0))
    assert judge_logprobs([-2.0], near, allowed).verdict is Verdict.DISPUTED
    assert judge_logprobs([-21.0], far, allowed).verdict is Verdict.AGREED
    assert judge_logprobs([-2.0], near, allowance("bfloat16", 2.0)).verdict is Verdict.AGREED


def test_another_number_of_choices_is_disputed() -> None:
    assert judge_logprobs([-1.0], [], allowance("float32")).verdict is Verdict.DISPUTED


def test_texts_agree_up_to_the_first_near_tie_and_not_beyond() -> None:
    said = Said(" one two", sure=" one two", num_tokens=2, num_ties=0, ended=True)
    assert judge_text(" one two", said).verdict is Verdict.AGREED
    assert judge_text(" one six", said).verdict is Verdict.DISPUTED
    assert judge_text(" one", said).verdict is Verdict.DISPUTED
    tied = said._replace(sure=" one", num_ties=1)
    assert judge_text(" one six", tied).verdict is Verdict.NEAR_TIE
    assert judge_text(" six two", tied).verdict is Verdict.DISPUTED
    assert judge_text(" one two", said._replace(ended=False)).verdict is Verdict.DISPUTED


def test_another_prompt_is_disputed_with_the_place_where_it_parts() -> None:
    assert judge_prompt("question: a", "question: a") is None
    found = judge_prompt("question: question: a", "question: a")
    assert found is not None
    assert found.verdict is Verdict.DISPUTED
    assert "question: question" in found.reason


def subject(recipe: Recipe, **paths: Path) -> Subject:
    candidate = Candidate(name="it", family="test", recipe=recipe)
    return Subject(candidate, paths, None, "float32", ())


def plain(role: str = "base") -> Weights:
    return Weights(method="checkpoint", inputs=(role,))


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    out = tmp_path_factory.mktemp("members")
    base = make_llama(out / "base", seed=0)
    tuned = {name: make_llama(out / name, seed=i, near=base) for i, name in enumerate("abc", 1)}
    return {"base": base, **tuned}


def logits_of(folder: Path, ids: list[int]) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0]


def scores_of(reference: Reference, pairs: list[tuple[str, str]]) -> list[float]:
    return [one.logprob for one in reference.loglikelihoods(pairs)]


PAIRS = [("w1 w2 w3", " w4"), ("w1 w2 w3", " w5 w6 w7"), ("w9 ", "w8"), ("w1 w2", " w3")]


def test_log_likelihoods_are_those_of_lm_evals_own_backend(members: Mapping[str, Path]) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    own = HFLM(pretrained=str(members["a"]), dtype="float32", device="cpu")
    pairs = [*PAIRS, ("", "w5 w6")]
    asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    expected = [logprob for logprob, _ in own.loglikelihood(asked, disable_tqdm=True)]
    reference = reference_of(subject(plain("a"), **members), Path(), "cpu")
    assert scores_of(reference, pairs) == pytest.approx(expected, abs=1e-5)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**16))
def test_greedy_text_is_what_generate_says_whatever_the_draft(
    members: Mapping[str, Path], seed: int
) -> None:
    rng = random.Random(seed)
    reference = reference_of(subject(plain(), **members), Path(), "cpu")
    prompt = " ".join(f"w{rng.randrange(94)}" for _ in range(rng.randrange(1, 9)))
    model, tokenizer = reference.voices[0].model, reference.tokenizer
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    out = model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
    text = tokenizer.decode(out[0], skip_special_tokens=True)[len(tokenizer.decode(ids[0])) :]
    for draft in (text, text[: rng.randrange(len(text) + 1)], "w1 w2", ""):
        (said,) = decode_greedily(reference, [Wanted(prompt, draft, 12)], tie=0.0)
        assert said.text == text
        assert said.ended


def test_a_draft_that_is_right_costs_one_pass(
    members: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = reference_of(subject(plain(), **members), Path(), "cpu")
    (said,) = decode_greedily(reference, [Wanted("w1 w2", "", 12)], tie=0.0)
    passes = []
    ask = Reference.next_logits
    monkeypatch.setattr(
        Reference, "next_logits", lambda self, rows: passes.append(1) or ask(self, rows)
    )
    assert decode_greedily(reference, [Wanted("w1 w2", said.text, 12)], tie=0.0) == [said]
    assert len(passes) == 1


def test_generation_ends_at_its_own_end_tokens_and_at_stop_strings(
    members: Mapping[str, Path], tmp_path: Path
) -> None:
    import shutil

    reference = reference_of(subject(plain(), **members), Path(), "cpu")
    (free,) = decode_greedily(reference, [Wanted("w1 w2", "", 12)], tie=0.0)
    words = free.text.split()
    (stopped,) = decode_greedily(reference, [Wanted("w1 w2", "", 12, (words[3],))], tie=0.0)
    assert stopped.text == free.text.split(words[3])[0]
    copy = shutil.copytree(members["base"], tmp_path / "copy")
    end = reference.tokenizer.convert_tokens_to_ids(words[3])
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, end]}))
    other = reference_of(subject(plain("copy"), copy=copy), Path(), "cpu")
    (ended,) = decode_greedily(other, [Wanted("w1 w2", "", 12)], tie=0.0)
    assert ended.num_tokens == words.index(words[3]) + 1


def test_a_mix_is_a_loop_over_its_members(members: Mapping[str, Path]) -> None:
    coefficients = (1.0, 1.5, -1.5)
    parts = [Member(role=r, coefficient=c) for r, c in zip(("base", "a", "b"), coefficients)]  # noqa: B905
    recipe = LogitMix(method="proxy", members=tuple(parts))
    reference = reference_of(subject(recipe, **members), Path(), "cpu")
    ids = reference.encode("w1 w2 w3 w4")
    logits = sum(c * logits_of(members[r], ids) for r, c in zip(("base", "a", "b"), coefficients))  # noqa: B905
    expected = float(torch.as_tensor(logits)[-2].log_softmax(-1)[ids[-1]])
    assert scores_of(reference, [("w1 w2 w3", " w4")]) == pytest.approx([expected], abs=1e-5)


def test_averages_follow_their_formula(members: Mapping[str, Path]) -> None:
    def weights(**shares: float) -> dict[str, torch.Tensor]:
        models = {role: load_model(members[role], device="cpu") for role in shares}
        return {
            name: sum(shares[role] * dict(models[role].named_parameters())[name] for role in shares)
            for name, _ in models["a"].named_parameters()
        }

    inputs = ("a", "b", "c")
    swa = Weights(method="swa", inputs=inputs)
    ema = Weights(method="ema", inputs=inputs, options={"decay": 0.7})
    for recipe, expected in (
        (swa, weights(a=1 / 3, b=1 / 3, c=1 / 3)),
        (ema, weights(a=0.49, b=0.21, c=0.3)),
    ):
        model = reference_of(subject(recipe, **members), Path(), "cpu").voices[0].model
        for name, value in model.named_parameters():
            torch.testing.assert_close(value, expected[name])


def test_what_nothing_here_can_make_is_said_to_be_unchecked(members: Mapping[str, Path]) -> None:
    recipe = Weights(method="alchemy", inputs=("base",))
    with pytest.raises(UncheckableError, match="no independent way to build what alchemy builds"):
        reference_of(subject(recipe, **members), Path(), "cpu")


def test_files_that_lack_a_parameter_are_no_reference(
    members: Mapping[str, Path], tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(members["base"], tmp_path / "copy")
    tensors = load_file(copy / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UncheckableError, match="up_proj"):
        load_model(copy, device="cpu")


def check(**more: Any) -> Check:
    fields: dict[str, Any] = {"candidate": "soup", "task": "quiz", "example": 1,
                              "kind": "likelihood", "verdict": Verdict.AGREED}  # fmt: skip
    return Check(**fields | more)


def test_a_tally_says_how_many_agree_and_by_how_much() -> None:
    lines = [check(difference=2e-5), check(example=2, difference=1e-6), check(example=3)]
    assert tally(lines).sentence == "checked: 3 of 3, worst 2e-05"
    disputed = check(example=4, verdict=Verdict.DISPUTED, difference=3.0)
    assert tally([*lines, disputed]).sentence == "checked: 3 of 4, worst 2e-05"
    reason = check(task=None, example=None, verdict=Verdict.UNCHECKED, reason="no such model")
    assert tally([reason]).sentence == "unchecked: no such model"


def test_a_line_holds_as_long_as_its_samples_do(tmp_path: Path) -> None:
    samples = tmp_path / "samples" / "soup" / "quiz.parquet"
    samples.parent.mkdir(parents=True)
    samples.write_bytes(b"first")
    kept = check(samples=samples_hash(tmp_path, "soup", "quiz"))
    again = kept.model_copy(update={"difference": 1e-6})
    lines = "".join(one.model_dump_json() + "\n" for one in (kept, again))
    (tmp_path / "checks.jsonl").write_text(lines + '{"candidate": "cut')
    assert read_checks(tmp_path) == [again]
    samples.write_bytes(b"measured again")
    assert read_checks(tmp_path) == []


def test_a_process_that_dies_leaves_its_candidate_unchecked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from melange.harness.check.subject import Setting
    from melange.harness.checking import Checker

    checker = Checker(Setting(tmp_path, {}, None, 0, 8, "cpu"))
    dead = SimpleNamespace(
        send=lambda subject: None,
        poll=lambda sec: True,
        recv=lambda: (_ for _ in ()).throw(EOFError),
    )
    monkeypatch.setattr(checker, "start", lambda: setattr(checker, "_connection", dead))
    found = checker.check(subject(plain()))
    assert {one.verdict for one in found} == {Verdict.UNCHECKED}
    assert "died" in found[0].reason
