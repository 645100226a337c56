"""A part of `make parity` as a test, and a test that it detects errors."""

from pathlib import Path

import pytest

from parity.architectures import ARCHITECTURES
from parity.comparison import Difference, is_equal
from parity.page import render
from parity.references import Answer
from parity.run import is_good
from parity.study import study

LIMIT_SEC = 120


@pytest.mark.slow
def test_every_kind_of_candidate_answers_as_transformers_does(tmp_path: Path) -> None:
    """Gemma 2 has features that a Llama lacks: windows, two soft caps, a scaled embedding."""
    line = study("Gemma2", ARCHITECTURES["Gemma2"], tmp_path, LIMIT_SEC)
    assert is_good(line), line["cells"]
    outcomes = {kind: cell["outcome"] for kind, cell in line["cells"].items()}
    assert outcomes.pop("mixture") == "refused"
    assert set(outcomes.values()) == {"ok"}


FOLLOWED = Answer(
    text=" a bell and", ended=False, prefixes=(" a", " a bell", " a bell and"), margins=(2, 1e-5, 3)
)


@pytest.mark.parametrize(
    ("response", "equal"),
    [
        ("a bell and a goat", True),  # the reference ends before
        ("a goat", True),  # a near-tie decided between a bell and a goat
        ("one bell and", False),
    ],
)
def test_a_greedy_answer_may_differ_from_a_near_tie_on(response: str, equal: bool) -> None:
    assert is_equal(response, FOLLOWED) == equal


@pytest.mark.parametrize(
    ("nats", "num_equal", "silent"),
    [(1e-5, 3, False), (0.01, 3, True), (1e-5, 2, True), (float("nan"), 3, True)],
)
def test_what_is_wrong_without_a_word_is_seen(nats: float, num_equal: int, silent: bool) -> None:
    assert Difference(nats=nats, num_answers=3, num_equal=num_equal).is_silent == silent


def test_the_page_says_what_is_refused_and_why() -> None:
    right = {"outcome": "ok", "nats": 3e-6, "num_answers": 3, "num_equal": 3}
    wrong = right | {"outcome": "differs", "nats": 3.3, "way": "fused"}
    refused = {"outcome": "refused", "reason": "has biases"}
    lines = {
        name: {
            "cells": {"single": right, "proxy": wrong, "SWA": refused},
            "versions": {"vllm": "1"},
        }
        for name in ARCHITECTURES
    }
    page = render(lines)
    assert "| Gemma 2 | 3e-06 | – | – | refused <sup>1</sup> | **3.3** (fused) | – |" in page
    assert "refused: `has biases`" in page
