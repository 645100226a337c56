"""A candidate as a folder that plain vLLM serves."""

import shutil
from pathlib import Path

from baselines.artifacts import DONE, artifact
from harness.contracts import Zoo
from harness.engines.fused.folder import write_folder
from harness.errors import HarnessError
from harness.plan import needed_roles
from harness.prepare import mix_folders
from harness.records import Candidate, LogitMix


def export(candidate: Candidate, zoo: Zoo, out: Path) -> None:
    """Write the candidate to the new folder `out`, its checkpoints built if need be.

    A checkpoint is copied. A mix names its members' folders, which must stay where they are, and
    is served where this package is installed: its plugin tells vLLM how.

    Raises:
        HarnessError: `out` is in use, or members of the mix see other prompts than the base.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HarnessError(f"{out}: is not empty; name a new folder")
    recipe = candidate.recipe
    if isinstance(recipe, LogitMix) and not recipe.fusible:
        raise HarnessError(
            f"{candidate.name}: a member sees prompts of its own, which one engine cannot serve; "
            "export a candidate without own_prompt"
        )
    roles = needed_roles([candidate])
    paths = zoo.build(roles)
    prints = {role: zoo.fingerprint(role) for role in roles}
    if isinstance(recipe, LogitMix):
        folders = mix_folders(recipe, paths, prints)
        write_folder(out, folders, recipe.coefficients, recipe.combine)
        return
    built = artifact(candidate, paths, prints)
    shutil.copytree(built, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(DONE))
