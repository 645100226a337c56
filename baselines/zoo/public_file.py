"""The file of a zoo of checkpoints that others trained, for `--zoo my.yaml`:

    kind: public                     # may be left out, as may the name
    name: mine
    roles:
      large_base: /models/base-13b   # a folder; relative ones start at this file
      large_math: ../math-13b
      large_base@20000: steps/20000  # a run's checkpoint after 20,000 steps, for averages
      small_base: meta-llama/Llama-2-7b-hf           # a name on the hub
      small_chat:                    # or with what else there is to say
        of: small_base               # a fine-tune of that role
        domains: [instructions]      # for what
        prompts: ["Write a letter to"]  # and a few texts of it, for the router of a mixture
        model: meta-llama/Llama-2-7b-chat-hf
        revision: main               # branch, tag or commit
        licence: Llama 2
        gated: true                  # its licence has to be accepted first
        chat: true                   # has a chat template
        params: 6.7e9
    engine: {dtype: bfloat16}        # by vLLM's names; a role may have options of its own
    reference:                       # figures to show beside the measured ones
      - {candidate: large_base, task: gsm8k, value: 0.066}
      - candidate: tuned             # as the paper calls it
        measured_as: large_math      # as a run does
        task: gsm8k
        metric: exact_match          # left out, it is the task's own
        value: 0.324

A hub name is looked for in $MELANGE_MODELS/<its last part>, then in the hub's cache, then on the
hub. The checkpoints of a role may be of any architecture that vLLM serves, in safetensors.

A role without `of` is a base; one with it a fine-tune of that role; one called `run@step` a
checkpoint along a run, as is one with `kind: step, of: run, step: 20000`. Adapters, mixtures and
reward models are told by their files; before these are there, by `kind`.
"""

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from melange.harness.errors import HarnessError
from melange.harness.records import EngineOptions, Record
from melange.harness.references import Reference
from melange.harness.roles import Kind, Role, as_tuple, named_role
from melange.harness.yaml_file import read_entry, read_yaml

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
ROLE_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(@[1-9][0-9]*)?")


class PublicRole(Record):
    model: str = Field(min_length=1)
    """A folder, or a name on the hub."""
    revision: str | None = None
    licence: str = ""
    gated: bool = False
    chat: bool = False
    params: float | None = Field(default=None, gt=0)
    active_params: float | None = Field(default=None, gt=0)
    engine: EngineOptions = EngineOptions()
    kind: Kind | None = None
    of: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    label: str = ""
    domains: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    prompts: tuple[str, ...] = ()
    step: int = Field(default=0, ge=0)

    def related(self, name: str) -> Role:
        """What the zoo file says of it."""
        named = named_role(name)
        kind = self.kind or ("finetune" if self.of else named.kind)
        said = self.model_dump(include={"label", "domains", "prompts"})
        return Role(
            name=name, kind=kind, of=self.of or named.of, step=self.step or named.step,
            num_parameters=None if self.params is None else int(self.params), **said,
        )  # fmt: skip


class ZooFile(Record):
    kind: Literal["public"] = "public"
    scale: Literal["public"] = "public"
    name: str = ""
    title: str = ""
    source: str = ""
    roles: dict[str, Any] = Field(min_length=1)
    engine: EngineOptions = EngineOptions()
    reference: tuple[Reference, ...] = ()


def read_zoo(path: Path) -> tuple[ZooFile, dict[str, PublicRole]]:
    """The file, and its roles by name.

    Raises:
        HarnessError: a key or role is wrong, or a folder that it names is not there.
    """
    content = read_entry(ZooFile, read_yaml(path), str(path))
    figures = tuple(
        figure.model_copy(update={"source": figure.source or content.source})
        for figure in content.reference
    )
    named = content.model_copy(update={"name": content.name or path.stem, "reference": figures})
    return named, {name: _read_role(name, about, path) for name, about in content.roles.items()}


def _read_role(name: str, about: Any, path: Path) -> PublicRole:
    """A role, its model an absolute folder or a hub name.

    Raises:
        HarnessError: one line with file, role and what is wrong.
    """
    where = f"{path}: roles.{name}"
    if not isinstance(name, str) or not ROLE_NAME.fullmatch(name):
        raise HarnessError(
            f"{where}: no name of a role; use letters, digits, _, - and ., such as base-math, "
            "and @<step> for a checkpoint along the way, such as large_base@1500."
        )
    role = read_entry(PublicRole, {"model": about} if isinstance(about, str) else about, where)
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
