"""Zoos whose weights come with the project, opened where they lie.

    pocket.yaml                        the recipe, with `shipped: true`
    pocket/manifest.json               of each role: its recipe, how it was trained, its checksums
    pocket/large_base/                 a checkpoint; its weights are its own
    pocket/large_base@1500/            the same run, after 1,500 steps
    pocket/shared/                     what checkpoints have in common, to which they hold links

Nothing is copied, trained or fetched. Each file is held against its checksum before it is used.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from melange.baselines.zoo.recipe import RecipeZoo, recipe_hash
from melange.harness.checkpoints.checksums import file_hash, folder_hash
from melange.harness.errors import HarnessError

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class ShippedZoo(RecipeZoo):
    """Obeys harness.contracts.Zoo."""

    root: Path
    _checked: dict[str, Path] = field(default_factory=dict, repr=False)

    def fingerprint(self, role: str) -> str:
        return folder_hash(self.folder(role))

    def missing(self, role: str) -> str:
        """Always empty: what is not there is no candidate's fault, and ends the run."""
        self.folder(role)
        return ""

    def folder(self, role: str) -> Path:
        """The role's checkpoint, once its files are seen to be those of the manifest.

        Raises:
            HarnessError: a file is missing or another one, or the manifest is of another recipe.
        """
        if role not in self._checked:
            self._check(role)
            self._checked[role] = self.root / role
        return self._checked[role]

    def wall_seconds(self, roles: Collection[str]) -> float:
        return 0.0

    def build(self, roles: Collection[str]) -> dict[str, Path]:
        """The folders of the roles; nothing is built."""
        return {role: self.folder(role) for role in roles}

    def manifest(self) -> dict[str, Any]:
        """
        Raises:
            HarnessError: it is not there, or is none.
        """
        path = self.root / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return dict(content, roles=dict(content["roles"]))
        except OSError:
            raise HarnessError(f"{path} is missing; {self._mend()}") from None
        except (ValueError, KeyError, TypeError):
            raise HarnessError(f"{path} is no manifest of a zoo; {self._mend()}") from None

    def _check(self, role: str) -> None:
        owner, _ = self.recipe.owner(role)
        known = self.manifest()["roles"].get(role)
        if known is None:
            raise HarnessError(f"{self.root} has no weights of {role}; {_train(owner)}")
        if known["recipe_hash"] != recipe_hash(self.recipe, owner):
            raise HarnessError(
                f"{self.root / MANIFEST}: {role} was trained by another recipe than "
                f"{self.root.name}.yaml has now; {self._mend(role)}"
            )
        for name, expected in known["files"].items():
            if problem := _problem(self.root / role / name, expected):
                raise HarnessError(f"{self.root / role / name} {problem}; {self._mend(role)}")

    def _mend(self, role: str = "") -> str:
        restore = f"`git checkout -- {self.root}` restores it"
        owner = self.recipe.owner(role)[0] if role else ""
        return f"{restore} in a clone, {_train(owner)}"


def weights_digest(entry: Mapping[str, Any]) -> str:
    """SHA-256 of a role's weights, from its entry in the manifest."""
    return next(digest for name, digest in entry["files"].items() if name.endswith(".safetensors"))


def _train(owner: str) -> str:
    return f"`make zoo{f' ROLES={owner}' if owner else ''}` trains it again"


def _problem(path: Path, expected: str) -> str:
    try:
        return "" if file_hash(path) == expected else "is not the file that was shipped"
    except OSError as error:
        return f"cannot be read ({(error.strerror or str(error)).lower()})"
