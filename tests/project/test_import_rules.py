"""Import rules name existing packages: a rule about a missing one would always hold."""

import tomllib
from importlib.util import find_spec
from typing import Any

import pytest
from places import ROOT

RULES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


@pytest.mark.parametrize("rule", RULES, ids=lambda one: one["name"])
def test_packages_that_a_rule_names_are_installed(rule: dict[str, Any]) -> None:
    """import-linter itself only rejects unknown modules of the project."""
    named = [*rule.get("forbidden_modules", []), *rule.get("protected_modules", [])]
    for package in {name.partition(".")[0] for name in named}:
        assert find_spec(package), package


@pytest.mark.parametrize("rule", RULES, ids=lambda one: one["name"])
def test_an_exception_that_matches_no_import_is_an_error(rule: dict[str, Any]) -> None:
    """This is import-linter's default."""
    assert "unmatched_ignore_imports_alerting" not in rule
