"""Zoos whose weights come with the project, opened where they lie.

    pocket.yaml                        the spec, with `shipped: true`
    pocket/manifest.json               of each role: its spec, how it was trained, its checksums
    pocket/large_base/                 a checkpoint; its weights are its own
    pocket/large_base@1500/            the same run, after 1,500 steps
    pocket/shared/                     what checkpoints have in common, to which they hold links

Nothing is copied, trained or fetched. Each file is checked against its checksum before it is used.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from melange.baselines.zoo.spec import SpecZoo, spec_hash
from melange.harness.checkpoints.checksums import file_hash, folder_hash
from melange.harness.errors import HarnessError

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class ShippedZoo(SpecZoo):
    """Obeys harness.contracts.Zoo."""

    root: Path
    _checked: dict[str, Path] = field(default_factory=dict, repr=False)

    def fingerprint(self, role: str) -> str:
        return folder_hash(self.folder(role))

    def missing(self, role: str) -> str:
        """Always empty: a missing file ends the run, as the checkout is damaged."""
        self.folder(role)
        return ""

    def folder(self, role: str) -> Path:
        """The role's checkpoint, after its files are checked against the manifest.

        Raises:
            HarnessError: a file is missing or differs, or the manifest belongs to another spec.
        """
        if role not in self._checked:
            self._check(role)
            self._checked[role] = self.root / role
        return self._checked[role]

    def training_sec(self, role: str) -> float | None:
        """On the machine where the weights were made."""
        known = self.manifest()["roles"].get(role, {}).get("training", {})
        return known.get("build_sec")

    def wall_seconds(self, roles: Collection[str]) -> float:
        return 0.0

    def build(self, roles: Collection[str]) -> dict[str, Path]:
        """The folders of the roles; nothing is built."""
        return {role: self.folder(role) for role in roles}

    def manifest(self) -> dict[str, Any]:
        """
        Raises:
            HarnessError: it is missing or malformed.
        """
        path = self.root / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return dict(content, roles=dict(content["roles"]))
        except OSError:
            raise HarnessError(f"{path} is missing; {self._mend()}") from None
        except (ValueError, KeyError, TypeError):
            raise HarnessError(f"{path} is not a zoo manifest; {self._mend()}") from None

    def _check(self, role: str) -> None:
        owner, _ = self.spec.owner(role)
        known = self.manifest()["roles"].get(role)
        if known is None:
            raise HarnessError(f"{self.root} has no weights of {role}; {_train(owner)}")
        if known["recipe_hash"] != spec_hash(self.spec, owner):
            raise HarnessError(
                f"{self.root / MANIFEST}: {role} was trained from another spec than "
                f"{self.root.name}.yaml now has; {self._mend(role)}"
            )
        for name, expected in known["files"].items():
            if problem := _problem(self.root / role / name, expected):
                raise HarnessError(f"{self.root / role / name} {problem}; {self._mend(role)}")

    def _mend(self, role: str = "") -> str:
        restore = f"`git checkout -- {self.root}` restores it"
        owner = self.spec.owner(role)[0] if role else ""
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
