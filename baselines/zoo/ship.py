"""Writes a trained zoo's weights beside its spec, as baselines.zoo.shipped reads them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from melange.baselines.zoo.shipped import MANIFEST, ShippedZoo, weights_digest
from melange.baselines.zoo.spec import ZooSpec, role_spec, spec_hash
from melange.baselines.zoo.train import DONE, TrainedZoo
from melange.harness.checkpoints.checksums import file_hash

SHARED = "shared"
OF_A_SIZE = ("config.json", "generation_config.json")
OF_ALL = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
WEIGHTS = ("model.safetensors", "adapter_model.safetensors")
ADAPTER = "adapter_config.json"


def ship(zoo: TrainedZoo, roles: Collection[str], shipped: ShippedZoo) -> None:
    """Copy the roles' weights beside the spec, then write the manifest with their checksums."""
    root = shipped.root
    entries = read_entries(root)
    for role in with_steps(zoo.spec, roles):
        copy_role(zoo, role, root)
        entries[role] = entry(zoo, role, root)
    order = [role for role in zoo.spec.all_roles if role in entries]
    for role in stale(zoo.spec, roles, entries):
        print(f"{role} was tuned from an earlier base; ROLES={role} tunes it again")
    content = {
        "zoo": zoo.name,
        "seed": zoo.spec.seed,
        "world_seed": zoo.spec.world_seed,
        "roles": {role: entries[role] for role in order},
    }
    replace_text(root / MANIFEST, to_json(content))
    for folder in root.iterdir():
        if folder.is_dir() and folder.name not in (SHARED, *order):  # of an earlier spec
            shutil.rmtree(folder)
    print(f"{len(with_steps(zoo.spec, roles))} checkpoints in {root}")


def read_entries(root: Path) -> dict[str, Any]:
    """Of the existing manifest; empty if it is missing or unreadable."""
    try:
        return dict(json.loads((root / MANIFEST).read_text(encoding="utf-8"))["roles"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def with_steps(spec: ZooSpec, roles: Collection[str]) -> list[str]:
    return [role for role in spec.all_roles if spec.owner(role)[0] in roles]


def stale(spec: ZooSpec, roles: Collection[str], entries: dict[str, Any]) -> list[str]:
    """Roles that stay as they are, while the one they were tuned from has changed."""
    return [
        role
        for role in spec.roles
        if role in entries
        and role not in roles
        and (parent := spec.training(role).parent) in roles
        and entries[role].get("parent_weights") != weights_digest(entries[str(parent)])
    ]


def copy_role(zoo: TrainedZoo, role: str, root: Path) -> None:
    owner, step = zoo.spec.owner(role)
    source, target = zoo.path(role), root / role
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    size = zoo.spec.training(owner).size
    is_adapter = (source / ADAPTER).is_file()
    for name in () if is_adapter else OF_A_SIZE:
        share(source / name, root / SHARED / size / name, target / name)
    for name in OF_ALL:
        share(source / name, root / SHARED / name, target / name)
    last = step == zoo.spec.training(owner).steps
    for name in WEIGHTS:
        if last and (root / owner / name).is_file():
            link(root / owner / name, target / name)  # a run's last step is its end
        elif (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    if is_adapter:
        write_adapter_config(source, target, base=str(zoo.spec.training(owner).parent))


def share(source: Path, shared: Path, target: Path) -> None:
    """Write the file where all that have the same one find it, and link to it."""
    shared.parent.mkdir(parents=True, exist_ok=True)
    replace_text(shared, source.read_text(encoding="utf-8"))
    link(shared, target)


def link(to: Path, at: Path) -> None:
    at.symlink_to(os.path.relpath(to, at.parent))


def write_adapter_config(source: Path, target: Path, *, base: str) -> None:
    """Names the base as the folder beside it, wherever it was trained."""
    config = json.loads((source / ADAPTER).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    config["target_modules"] = sorted(config["target_modules"])  # a set, in any order
    replace_text(target / ADAPTER, json.dumps(config, indent=2, sort_keys=True) + "\n")


def entry(zoo: TrainedZoo, role: str, root: Path) -> dict[str, Any]:
    """What the manifest says of a role."""
    owner, step = zoo.spec.owner(role)
    files = {path.name: file_hash(path) for path in sorted((root / role).iterdir())}
    made: dict[str, Any] = {"recipe_hash": spec_hash(zoo.spec, owner), "files": files}
    if step is not None:
        return made
    parent = zoo.spec.training(owner).parent
    if parent is not None:
        made["parent_weights"] = file_hash(zoo.path(parent) / WEIGHTS[0])
    training = {key: value for key, value in read_done(zoo, role).items() if key != "recipe"}
    return made | {"recipe": role_spec(zoo.spec, role), "training": training}


def read_done(zoo: TrainedZoo, role: str) -> dict[str, Any]:
    """What training the role took and came to."""
    return dict(json.loads((zoo.path(role) / DONE).read_text(encoding="utf-8")))


def to_json(content: dict[str, Any]) -> str:
    """Readable, with a loss curve on one line."""
    text = json.dumps(content, indent=1)
    return (
        re.sub(r"\[[\s\d.,\[\]NaN-]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text) + "\n"
    )


def replace_text(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.partial")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)
