"""A program passes only if it runs to its end."""

import pytest

from melange.tasks.public.humaneval import scorer


@pytest.mark.parametrize(
    ("program", "passed"),
    [
        ("assert 1 + 1 == 2", True),
        ("assert 1 + 1 == 3", False),
        ("raise SystemExit(0)", False),
        ("import os; os._exit(0)", False),
        ("def (", False),
        ("x = 'a' * (1 << 31)", False),
        ("print('noise')", True),
        ("'\udcff'", True),
    ],
)
def test_a_program_passes_only_if_it_runs_to_its_end(program: str, passed: bool) -> None:
    assert scorer.passes(program) is passed


def test_an_endless_program_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer, "TIMEOUT_SEC", 0.3)
    assert not scorer.passes("while True: pass")
