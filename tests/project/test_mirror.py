"""The folders of tests mirror those of the code."""

from pathlib import Path

from places import ROOT

TESTS = ROOT / "tests"
FOLDERS = {"project", "studies", "parity"}
"""Folders without a counterpart in the code: tests of the project's files, and tools."""
FILES = sorted(file.relative_to(TESTS) for file in TESTS.rglob("test_*.py"))


def has_code(folder: Path) -> bool:
    """Whether the package has a folder of this name, with modules in it."""
    return folder != Path() and any((ROOT / "melange" / folder).glob("*.py"))


def test_every_test_lies_in_a_folder_of_the_code() -> None:
    homeless = [file for file in FILES if not has_code(file.parent)]
    assert [str(file) for file in homeless if str(file.parent) not in FOLDERS] == []
