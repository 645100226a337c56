"""Zoos of existing checkpoints: public ones by hub name, your own by folder."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from melange.baselines.zoo.public_file import PublicRole, ZooFile, read_zoo
from melange.harness.checkpoints.checksums import folder_hash
from melange.harness.checkpoints.facts import completed
from melange.harness.errors import HarnessError, unknown
from melange.harness.records import EngineOptions
from melange.harness.roles import Role
from melange.tasks.public import hub

MODELS = "MELANGE_MODELS"
DOWNLOAD_BYTES_PER_SEC = 50e6
BYTES_PER_PARAMETER = 2
FETCHED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
LEFT = ["original/*", "consolidated*"]  # the same weights in the authors' own format


class PublicZoo:
    """Obeys harness.contracts.Zoo; only `build` writes or fetches anything."""

    scale = "public"
    world_seed = None
    """None: public tasks ask about the real world."""

    def __init__(self, content: ZooFile, roles: Mapping[str, PublicRole]) -> None:
        self.name = content.name
        self.title = content.title
        self.source = content.source
        self.reference = content.reference
        self._engine = content.engine
        self._roles = dict(roles)
        self._inspected: dict[Path, str] = {}

    @classmethod
    def read(cls, path: Path) -> "PublicZoo":
        """The zoo of a YAML file, as public_file.py describes it.

        Raises:
            HarnessError: a key or role is wrong, or a folder that it names is not there.
        """
        return cls(*read_zoo(path))

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(self._roles)

    def related(self) -> list[Role]:
        return [
            completed(about.related(name), self.folder(name)) for name, about in self._roles.items()
        ]

    def role(self, role: str) -> PublicRole:
        """What the zoo file says of a role.

        Raises:
            HarnessError: there is no such role.
        """
        if role not in self._roles:
            raise unknown(f"role of zoo {self.name}", role, self._roles)
        return self._roles[role]

    def folder(self, role: str) -> Path | None:
        """The role's checkpoint folder; None while it would have to be fetched."""
        about = self.role(role)
        if named := _named_folder(about):
            return named
        cached = hub.snapshot(about.model, revision=about.revision)
        return cached if cached and not self._damage(cached) else None

    def fingerprint(self, role: str) -> str:
        """A hash over the checkpoint's files, with hub name and commit where it came from there.

        Of a checkpoint that is not here yet, it is what the zoo file says; it changes once fetched.
        """
        about, found = self.role(role), self.folder(role)
        if found is None:
            return f"{about.model}@{about.revision or 'main'}"
        content = folder_hash(found)
        return content if _named_folder(about) else f"{about.model}@{found.name}-{content}"

    def missing(self, role: str) -> str:
        """Why the role is not available here, and what to do; empty if it is."""
        about = self.role(role)
        if self.folder(role):
            return ""
        if about.gated and not _logged_in():
            return (
                f"{role} of {self.name}: {about.model} is gated; accept its licence at "
                f"https://huggingface.co/{about.model}, then `hf auth login`."
            )
        return "" if hub.reachable() else self._out_of_reach(role)

    def training_sec(self, role: str) -> float | None:
        """Public checkpoints do not say."""
        return None

    def wall_seconds(self, roles: Collection[str]) -> float:
        """Estimated download time of what is missing."""
        absent = [self.role(role) for role in roles if self.folder(role) is None]
        size = sum((about.params or 0.0) * BYTES_PER_PARAMETER for about in absent)
        return size / DOWNLOAD_BYTES_PER_SEC

    def engine(self, role: str) -> EngineOptions:
        """The role's options over the zoo's."""
        return self.role(role).engine.over(self._engine)

    def weights_bytes(self, role: str) -> int | None:
        folder = self.folder(role)
        if folder is not None:
            return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        params = self.role(role).params
        return None if params is None else int(params * BYTES_PER_PARAMETER)

    def build(self, roles: Collection[str]) -> dict[str, Path]:
        """Folders of the roles, fetched from the hub where they are not here.

        Raises:
            HarnessError: a role cannot be had.
        """
        folders: dict[str, Path] = {}
        for role in roles:
            if reason := self.missing(role):
                raise HarnessError(reason)
            folders[role] = self.folder(role) or self._fetch(role)
        return folders

    def _out_of_reach(self, role: str) -> str:
        about = self.role(role)
        cached = hub.snapshot(about.model, revision=about.revision)
        damage = f" whole ({self._damage(cached)})" if cached else ""
        why = "the environment forbids asking the hub" if hub.offline() else "the hub is silent"
        revision = f" --revision {about.revision}" if about.revision else ""
        return (
            f"{role} of {self.name}: {about.model} is neither under {MODELS} nor{damage} in the "
            f"hub's cache, and {why}; `hf download {about.model}{revision}` where it answers, or "
            f"put the folder {about.model.rpartition('/')[2]} under {MODELS}."
        )

    def _fetch(self, role: str) -> Path:
        import httpx
        from huggingface_hub import snapshot_download

        about = self.role(role)
        try:
            fetched = Path(
                snapshot_download(
                    about.model,
                    revision=about.revision,
                    allow_patterns=FETCHED,
                    ignore_patterns=LEFT,
                )
            )
        except (httpx.HTTPError, OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise HarnessError(
                f"{role} of {self.name}: {about.model} cannot be fetched: {reason}"
            ) from None
        self._inspected.pop(fetched, None)
        if damage := self._damage(fetched):
            raise HarnessError(f"{role} of {self.name}: {damage}")
        return fetched

    def _damage(self, folder: Path) -> str:
        """Why a cached checkpoint cannot be used; empty if it is complete."""
        if folder not in self._inspected:
            from melange.harness.checkpoints.info import inspect

            try:
                inspect(folder)
            except HarnessError as error:
                self._inspected[folder] = str(error).rstrip(".")
            else:
                self._inspected[folder] = ""
        return self._inspected[folder]


def _named_folder(about: PublicRole) -> Path | None:
    """The folder that the zoo file names, or the one of a hub name under MELANGE_MODELS."""
    if Path(about.model).is_absolute():
        return Path(about.model)
    if not (root := os.environ.get(MODELS)):
        return None
    folder = Path(root).expanduser().absolute() / about.model.rpartition("/")[2]
    return folder if folder.is_dir() else None


def _logged_in() -> bool:
    """Whether the hub's client finds a token."""
    from huggingface_hub import get_token

    return get_token() is not None
