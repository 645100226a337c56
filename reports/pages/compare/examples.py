"""Examples whose score changed, with each run's answer."""

from typing import Any

from melange.harness.records import Task
from melange.reports.analysis.comparison import Change, Comparison, Kind, Verdict
from melange.reports.analysis.comparison.examples import Question, questions
from melange.reports.page import Block, Section
from melange.reports.pages.candidate.samples import clipped, clipped_prompt, verdict
from melange.reports.view import RunView

CELLS = 12
LOST, WON = 4, 2
"""Examples shown per cell; the page of samples has all."""


def block(view: RunView, subject: str) -> Block | None:
    if view.comparison is None:
        return None
    flipped = [one for one in view.comparison.of(Kind.QUALITY) if one.lost or one.won]
    if not flipped:
        return None
    shown = sorted(flipped, key=_order)[:CELLS]
    return Block(
        data={
            "cells": [_cell(view, view.comparison, one) for one in shown],
            "num_flipped": len(flipped),
        }
    )


def _order(change: Change) -> tuple[bool, float, int]:
    return (change.verdict is not Verdict.WORSE, change.p_value or 0.0, -len(change.lost))


def _cell(view: RunView, comparison: Comparison, change: Change) -> dict[str, Any]:
    numbers = [*change.lost[:LOST], *change.won[:WON]]
    found = questions(comparison.old, comparison.new, change.candidate, change.subject, numbers)
    task = view.run.tasks[change.subject]
    return {
        "change": change,
        "examples": [_example(one, task, one.example in change.lost) for one in found],
        "left_out": len(change.lost) + len(change.won) - len(found),
    }


def _example(question: Question, task: Task | None, is_lost: bool) -> dict[str, Any]:
    return {
        "number": question.example,
        "is_lost": is_lost,
        "prompt": clipped_prompt(question.prompt),
        "target": clipped(question.target),
        "answers": [
            _answer("Before", question.old_response, question.old_score, task),
            _answer("Now", question.new_response, question.new_score, task),
        ],
    }


def _answer(when: str, response: str, score: float, task: Task | None) -> dict[str, Any]:
    return {
        "when": when,
        "response": clipped(response),
        "sample": {"verdict": verdict(score, task), "score": score},
    }


SECTION = Section("Flipped examples", "sections/compare_examples.html", block)
