"""Fixtures: a run's checkpoints and fine-tunes of a tiny Llama, and an empty cache per test."""

from pathlib import Path

import pytest
from checkpoint_makers import make_llama
from method_zoo import ROLES


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("zoo")
    base = make_llama(root / "large_base", seed=0)
    tuned = [role for role in ROLES if role.startswith("large_") and role != "large_base"]
    return {"large_base": base} | {
        role: make_llama(root / role, seed=seed, near=base) for seed, role in enumerate(tuned, 1)
    }


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MELANGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
