"""Checks candidates: transformers answers a few of their examples, and the answers are compared."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from melange.harness.check.answers import Kept, kept_answers, prompt_lengths
from melange.harness.check.decoding import Wanted, decode_greedily
from melange.harness.check.judge import (
    Allowance,
    Judgement,
    allowance,
    judge_logprobs,
    judge_prompt,
    judge_text,
)
from melange.harness.check.models import UncheckableError
from melange.harness.check.recipes import reference_of
from melange.harness.check.reference import Reference
from melange.harness.check.sampling import Place, choose, one_each
from melange.harness.check.subject import Setting, Subject
from melange.harness.evaluators.lm_eval.questions import Question, Questions
from melange.harness.runs.samples import samples_hash
from melange.harness.verdicts import Check, Kind, Verdict

KINDS: tuple[Kind, ...] = ("likelihood", "generation")
REASON_CHARS = 300
WINDOWS = "its text is longer than the context, and was scored in windows"
OLDER = "its answers were measured by a version that did not keep them whole"


class Example(NamedTuple):
    """An example to check."""

    task: str
    row: int
    """In the data set."""
    question: Question
    kept: Kept


class Examiner:
    """Checks one candidate after the other; keeps lm-eval's tasks, which they share."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._questions = Questions(setting.tasks, limit=setting.limit, seed=setting.seed)

    def prepare(self) -> None:
        """Read the tasks."""
        self._questions.prepare()

    def check(self, subject: Subject) -> list[Check]:
        """Check what was not checked before, for both kinds of requests."""
        wanted = {kind: self._places(subject, kind) for kind in KINDS}
        lacking = [
            unchecked(subject, kind, UncheckableError(OLDER))
            for kind in KINDS
            if self._keeps_nothing(subject, kind)
        ]
        return lacking + (self._answered(subject, wanted) if any(wanted.values()) else [])

    def _answered(self, subject: Subject, wanted: Mapping[Kind, Sequence[Place]]) -> list[Check]:
        with tempfile.TemporaryDirectory(prefix="melange-check-") as scratch:
            try:
                reference = reference_of(subject, Path(scratch), self._setting.device)
            except Exception as error:  # whatever transformers or mergekit raise
                return [unchecked(subject, kind, error) for kind, new in wanted.items() if new]
            return [
                check
                for kind, new in wanted.items()
                if new
                for check in self._checked(subject, reference, kind, new)
            ]

    def _keeps_nothing(self, subject: Subject, kind: Kind) -> bool:
        lengths = self._lengths(subject, kind)
        return bool(lengths) and not any(lengths.values()) and not subject.known

    def _places(self, subject: Subject, kind: Kind) -> list[Place]:
        lengths = self._lengths(subject, kind)
        chosen = choose(lengths, self._setting.number, seed=self._seed(subject, kind))
        known = {
            (one.task, one.example) for one in subject.known if one.verdict is not Verdict.DISPUTED
        }
        again = [(task, row) for task, row in _disputed(subject, kind)
                 if row in lengths.get(task, ())]  # fmt: skip
        return [place for place in dict.fromkeys([*chosen, *again]) if place not in known]

    def _lengths(self, subject: Subject, kind: Kind) -> dict[str, dict[int, int]]:
        tasks = [name for name in subject.tasks if self._kind(name) == kind]
        name, folder = subject.candidate.name, self._setting.folder
        return {task: prompt_lengths(folder, name, task) for task in tasks}

    def _kind(self, task: str) -> Kind:
        return "likelihood" if self._setting.tasks[task][0].likelihood else "generation"

    def _seed(self, subject: Subject, kind: Kind) -> str:
        """Differs between candidates, so that together they cover more examples."""
        return f"{self._setting.seed}/{subject.candidate.name}/{kind}"

    def _checked(
        self, subject: Subject, reference: Reference, kind: Kind, places: Sequence[Place]
    ) -> list[Check]:
        """Check these examples; if one is disputed, also one of every other task."""
        try:
            found = list(self._judged(subject, reference, kind, places))
            if any(one.verdict is Verdict.DISPUTED for one in found):
                seen = {one.task for one in (*found, *subject.known)}
                lengths = self._lengths(subject, kind)
                rest = {task: sizes for task, sizes in lengths.items() if task not in seen}
                more = one_each(rest, seed=self._seed(subject, kind))
                found += self._judged(subject, reference, kind, more)
        except Exception as error:
            return [unchecked(subject, kind, error)]
        return found

    def _judged(
        self, subject: Subject, reference: Reference, kind: Kind, places: Sequence[Place]
    ) -> Iterator[Check]:
        examples = self._examples(subject, reference, places)
        judge = _judge_likelihood if kind == "likelihood" else _judge_generation
        made = partial(
            Check, candidate=subject.candidate.name, kind=kind, reference=reference.made_by
        )
        hashes = {task: self._hash(subject, task) for task, _ in places}
        judgements = judge(reference, examples, allowance(subject.dtype, reference.spread))
        for example, judgement in zip(examples, judgements, strict=True):
            yield made(
                task=example.task,
                example=example.row,
                samples=hashes[example.task],
                **judgement._asdict(),
            )

    def _hash(self, subject: Subject, task: str) -> str:
        return samples_hash(self._setting.folder, subject.candidate.name, task)

    def _examples(
        self, subject: Subject, reference: Reference, places: Sequence[Place]
    ) -> list[Example]:
        by_task: dict[str, list[int]] = {}
        for task, row in places:
            by_task.setdefault(task, []).append(row)
        found = []
        for task, rows in by_task.items():
            questions = self._questions.of(task, reference.tokenizer)
            kept = kept_answers(self._setting.folder, subject.candidate.name, task, rows)
            pairs = zip(rows, kept, strict=True)
            found += [Example(task, row, questions[row], one) for row, one in pairs]
        return found


def _disputed(subject: Subject, kind: Kind) -> list[tuple[str, int]]:
    """Task and row of disputed examples of cells that have been measured again since."""
    return [
        (one.task, one.example)
        for one in subject.known
        if one.verdict is Verdict.DISPUTED and one.kind == kind
        if one.task is not None and one.example is not None
        if one.task in subject.tasks
    ]


def _judge_likelihood(
    reference: Reference, examples: Sequence[Example], allowed: Allowance
) -> Iterator[Judgement]:
    pairs = [pair for one in examples if not _in_windows(one, reference)
             for pair in one.question.pairs]  # fmt: skip
    scores = iter(reference.loglikelihoods(pairs))
    for one in examples:
        if _in_windows(one, reference):
            yield Judgement(Verdict.UNCHECKED, "", "", reason=WINDOWS)
            continue
        theirs = [next(scores) for _ in one.question.pairs]
        disputed = judge_prompt(one.kept.prompt, one.question.prompt)
        yield disputed or judge_logprobs(one.kept.logprobs or (), theirs, allowed)


def _in_windows(one: Example, reference: Reference) -> bool:
    """Whether a whole text was longer than the context, and scored in several parts."""
    ((context, text), *_) = one.question.pairs
    return not context and len(reference.encode(text)) + 1 > reference.room


def _judge_generation(
    reference: Reference, examples: Sequence[Example], allowed: Allowance
) -> Iterator[Judgement]:
    greedy = [one for one in examples if not _is_sampled(one.question.settings)]
    asked = [_wanted(one, reference) for one in greedy]
    said = iter(decode_greedily(reference, asked, tie=allowed.tie))
    for one in examples:
        if _is_sampled(one.question.settings):
            yield Judgement(Verdict.UNCHECKED, one.kept.answer, "", reason="its text is sampled")
            continue
        theirs = next(said)
        disputed = judge_prompt(one.kept.prompt, one.question.prompt)
        yield disputed or judge_text(one.kept.answer, theirs)


def _is_sampled(settings: Mapping[str, Any]) -> bool:
    return bool(settings.get("do_sample")) and float(settings.get("temperature") or 0) > 0


def _wanted(one: Example, reference: Reference) -> Wanted:
    """lm-eval also stops at the text of the tokenizer's end token."""
    settings = one.question.settings
    end = str(reference.tokenizer.eos_token or "")
    stop = dict.fromkeys([*settings.get("until", ()), *([end] if end else [])])
    return Wanted(
        one.question.prompt,
        one.kept.answer,
        int(settings["max_gen_toks"]),
        tuple(text for text in stop if text),
        int(settings.get("min_tokens") or settings.get("min_new_tokens") or 0),
        float(settings.get("repetition_penalty") or 1),
        float(settings.get("presence_penalty") or 0),
        float(settings.get("frequency_penalty") or 0),
    )


def unchecked(subject: Subject, kind: Kind, error: Exception) -> Check:
    text = " ".join(str(error).split()) or type(error).__name__
    name = "" if isinstance(error, UncheckableError) else f"{type(error).__name__}: "
    return Check(
        candidate=subject.candidate.name,
        kind=kind,
        verdict=Verdict.UNCHECKED,
        reason=f"{name}{text}"[:REASON_CHARS],
    )
