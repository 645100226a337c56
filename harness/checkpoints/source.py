"""The checkpoints that recipes use: a zoo's, and those that methods build from them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from melange.harness.cache import cache_dir
from melange.harness.checkpoints.built import Made, Order, artifact_name, is_complete, where
from melange.harness.checkpoints.checksums import folder_hash
from melange.harness.checkpoints.configs import read_config
from melange.harness.contracts import Builder, Combiner, Method, StateBuilder, Zoo
from melange.harness.errors import HarnessError, unknown

if TYPE_CHECKING:
    from melange.harness.recipes.weights import Weights


@dataclass(slots=True)
class Checkpoints:
    """`known` and `check` are cheap, for plans. The other methods may build."""

    zoo: Zoo
    methods: Mapping[str, Method]
    artifacts: Path | None = None
    """Where to build checkpoints that the cache lacks; None: in the cache, to keep them."""
    paths: dict[str, Path] = field(default_factory=dict)
    """Folders of the roles that are ready."""

    def known(self, role: str) -> Path | None:
        """The checkpoint's folder, if it exists."""
        return Path(role) if Path(role).is_absolute() else self.zoo.folder(role)

    def known_folders(self, roles: Iterable[str]) -> dict[str, Path]:
        found = {role: self.known(role) for role in roles}
        return {role: folder for role, folder in found.items() if folder is not None}

    def make_ready(self, roles: Collection[str]) -> None:
        """Train, fetch or find them."""
        self.paths |= self.zoo.build(roles)

    def folder(self, role: str) -> Path:
        """
        Raises:
            HarnessError: the zoo has no such checkpoint.
        """
        folder = Path(role) if Path(role).is_absolute() else self.paths.get(role)
        if folder is None:
            raise HarnessError(f"no checkpoint for {role!r}; choose a zoo that has it")
        return folder.absolute()

    def fingerprint(self, role: str) -> str:
        if role in self.zoo.roles:
            return self.zoo.fingerprint(role)
        return folder_hash(self.folder(role))

    def training_sec(self, role: str) -> float | None:
        """As the zoo recorded it; None if it did not, or the role is a folder."""
        return self.zoo.training_sec(role) if role in self.zoo.roles else None

    def method(self, name: str) -> Method:
        """
        Raises:
            HarnessError: no method has this name.
        """
        if name not in self.methods:
            raise unknown("method", name, self.methods)
        return self.methods[name]

    def check(self, recipe: "Weights") -> None:
        """Check the inputs that exist, as building would, by their headers
        alone.

        Raises:
            HarnessError: they do not fit each other or the method.
        """
        found = self.method(recipe.method)
        if hasattr(found, "check"):
            cast(Combiner, found).check(recipe, self.known_folders(recipe.inputs))

    def like(self, recipe: "Weights") -> str | None:
        """The input whose shapes, configuration and tokenizer the result has; None if it may have
        its own."""
        found = self.method(recipe.method)
        return cast(StateBuilder, found).like(recipe) if hasattr(found, "tensors") else None

    def architecture(self, recipe: "Weights") -> str:
        """The result's architecture, as in its config.json; empty if not known yet.

        Raises:
            HarnessError: an input is damaged.
        """
        if own := getattr(self.method(recipe.method), "architecture", ""):
            return str(own)
        folder = self.known(self.like(recipe) or recipe.inputs[0])
        return "" if folder is None else str(read_config(folder)["architectures"][0])

    def builds(self, method: str) -> bool:
        """Whether the method builds checkpoints, rather than using one unchanged."""
        found = self.method(method)
        return hasattr(found, "build") or hasattr(found, "tensors")

    def made(self, name: str, recipe: "Weights") -> Made:
        """The recipe's folder, and what builds it if it does not exist yet.

        Raises:
            HarnessError: an input is missing.
        """
        folders = {role: self.folder(role) for role in recipe.inputs}
        if not self.builds(recipe.method):
            return Made(folders[recipe.inputs[0]])
        builder = cast(Builder, self.method(recipe.method))
        fingerprints = {role: self.fingerprint(role) for role in folders}
        own_name = artifact_name(name, recipe, fingerprints, builder)
        cached = where(cache_dir(), own_name)
        keep = self.artifacts is None or is_complete(cached)
        path = cached if keep else where(cast(Path, self.artifacts), own_name)
        return Made(path, Order(name, builder, recipe, folders, fingerprints).build)
