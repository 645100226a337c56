"""Zoos of checkpoints that others trained: public ones by hub name, one's own by folder.

A zoo file, for `--zoo my.yaml`:

    kind: public                     # may be left out, as may the name
    name: mine
    roles:
      large_base: /models/base-13b   # a folder; relative ones start at this file
      large_math: ../math-13b
      large_base@20000: steps/20000  # a run's checkpoint after 20,000 steps, for averages
      small_base: meta-llama/Llama-2-7b-hf           # a name on the hub
      small_chat:                    # or with what else there is to say
        model: meta-llama/Llama-2-7b-chat-hf
        revision: main               # branch, tag or commit
        licence: Llama 2
        gated: true                  # its licence has to be accepted first
        chat: true                   # has a chat template
        params: 6.7e9
    engine: {dtype: bfloat16}        # by vLLM's names; a role may have options of its own
    reference:                       # figures to show beside the measured ones
      - {candidate: large_base, task: gsm8k, value: 0.066}

A hub name is looked for in $MELANGE_MODELS/<its last part>, then in the hub's cache, then on the
hub. The checkpoints of a role may be of any architecture that vLLM serves, in safetensors.
"""

import difflib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from melange.harness.checkpoints.checksums import folder_hash
from melange.harness.errors import HarnessError, unknown
from melange.harness.records import EngineOptions, Record
from melange.harness.yaml_file import read_entry, read_yaml
from melange.tasks.public import hub

MODELS = "MELANGE_MODELS"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
ROLE_NAME = re.compile(r"[a-z][a-z0-9_]*(@[1-9][0-9]*)?")
DOWNLOAD_BYTES_PER_SEC = 50e6
BYTES_PER_PARAMETER = 2
FETCHED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
LEFT = ["original/*", "consolidated*"]  # the same weights in the makers' own form


class Role(Record):
    model: str = Field(min_length=1)
    """A folder, or a name on the hub."""
    revision: str | None = None
    licence: str = ""
    gated: bool = False
    chat: bool = False
    params: float | None = Field(default=None, gt=0)
    active_params: float | None = Field(default=None, gt=0)
    engine: EngineOptions = EngineOptions()


class Reference(Record):
    """A figure that a paper reports; fractions, not percent."""

    candidate: str
    task: str
    metric: str = "accuracy"
    value: float
    higher_is_better: bool = True
    note: str = ""
    source: str = ""


class ZooFile(Record):
    kind: Literal["public"] = "public"
    scale: Literal["public"] = "public"
    name: str = ""
    title: str = ""
    source: str = ""
    roles: dict[str, Any] = Field(min_length=1)
    engine: EngineOptions = EngineOptions()
    reference: tuple[Reference, ...] = ()


class PublicZoo:
    """Obeys harness.contracts.Zoo; only `build` writes or fetches anything."""

    scale = "public"
    world_seed = None
    """No invented world: public tasks ask about this one."""

    def __init__(self, content: ZooFile, roles: Mapping[str, Role]) -> None:
        self.name = content.name
        self.title = content.title
        self.source = content.source
        self.reference = content.reference
        self._engine = content.engine
        self._roles = dict(roles)
        self._inspected: dict[Path, str] = {}

    @classmethod
    def read(cls, path: Path) -> "PublicZoo":
        """The zoo of a YAML file, as the module's docstring describes it.

        Raises:
            HarnessError: a key or role is wrong, or a folder that it names is not there.
        """
        content = read_entry(ZooFile, read_yaml(path), str(path))
        figures = tuple(
            figure.model_copy(update={"source": figure.source or content.source})
            for figure in content.reference
        )
        named = content.model_copy(update={"name": content.name or path.stem, "reference": figures})
        return cls(
            named, {name: _read_role(name, about, path) for name, about in content.roles.items()}
        )

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(self._roles)

    def role(self, role: str) -> Role:
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
        """Why the role cannot be had here, and what to do; empty where it can."""
        about = self.role(role)
        if self.folder(role):
            return ""
        if about.gated and not _logged_in():
            return (
                f"{role} of {self.name}: {about.model} is gated; accept its licence at "
                f"https://huggingface.co/{about.model}, then `hf auth login`."
            )
        return "" if hub.reachable() else self._out_of_reach(role)

    def wall_seconds(self, roles: Collection[str]) -> float:
        """Estimated download time of what is not here."""
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
        """Why a checkpoint in the cache is of no use; empty where it is whole."""
        if folder not in self._inspected:
            from melange.harness.checkpoints.info import inspect

            try:
                inspect(folder)
            except HarnessError as error:
                self._inspected[folder] = str(error).rstrip(".")
            else:
                self._inspected[folder] = ""
        return self._inspected[folder]


def _read_role(name: str, about: Any, path: Path) -> Role:
    """A role, its model an absolute folder or a hub name.

    Raises:
        HarnessError: one line with file, role and what is wrong.
    """
    where = f"{path}: roles.{name}"
    if not isinstance(name, str) or not ROLE_NAME.fullmatch(name):
        raise HarnessError(
            f"{where}: no name of a role; use small letters, digits and _, such as large_math, "
            "and @<step> for a checkpoint along the way, such as large_base@1500."
        )
    role = read_entry(Role, {"model": about} if isinstance(about, str) else about, where)
    folder = Path(os.path.normpath(path.absolute().parent / Path(role.model).expanduser()))
    if folder.is_dir():
        return role.model_copy(update={"model": str(folder)})
    if HUB_NAME.fullmatch(role.model) and not role.model.startswith("."):
        return role
    raise HarnessError(f"{where}: {_no_folder(folder)}")


def _no_folder(folder: Path) -> str:
    siblings = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
    near = difflib.get_close_matches(folder.name, siblings, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "give a checkpoint folder or a hub name."
    return f"no folder {folder}; {hint}"


def _named_folder(about: Role) -> Path | None:
    """The folder that the zoo file names, or the one of a hub name under MELANGE_MODELS."""
    if Path(about.model).is_absolute():
        return Path(about.model)
    if not (root := os.environ.get(MODELS)):
        return None
    folder = Path(root).expanduser().absolute() / about.model.rpartition("/")[2]
    return folder if folder.is_dir() else None


def _logged_in() -> bool:
    """Whether the hub's client would find a token, wherever it keeps one."""
    from huggingface_hub import get_token

    return get_token() is not None
