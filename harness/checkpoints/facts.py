"""Completes what a zoo says of a role from the role's files."""

from pathlib import Path
from typing import Any

from melange.harness.checkpoints.adapters import is_adapter
from melange.harness.checkpoints.info import inspect
from melange.harness.errors import HarnessError
from melange.harness.roles import Role


def completed(role: Role, folder: Path | None) -> Role:
    """The role with its kind, size and vocabulary. What cannot be read is left open; plans report
    the reason."""
    if folder is None or role.kind == "step":
        return role
    if is_adapter(folder):
        return role.model_copy(update={"kind": "adapter"})
    try:
        info = inspect(folder)
    except HarnessError:
        return role
    found: dict[str, Any] = {"vocabulary": info.tokenizer, "num_parameters": info.num_parameters}
    if info.num_active_parameters < info.num_parameters and not role.of:
        found["kind"] = "mixture"
    if info.architecture.endswith("ForSequenceClassification"):
        found["kind"] = "reward"
    return role.model_copy(update=found)
