"""Fixtures with two runs that differ in noise only."""

import shutil
from pathlib import Path

import pytest
from comparison_run import (
    write_pair,
)


@pytest.fixture(scope="module")
def pair_once(tmp_path_factory) -> tuple[Path, Path]:
    return write_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def pair(pair_once, tmp_path) -> tuple[Path, Path]:
    """A copy that a test may change."""
    shutil.copytree(pair_once[0].parent, tmp_path / "runs")
    return tmp_path / "runs" / "old", tmp_path / "runs" / "new"
