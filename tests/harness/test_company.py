"""Candidates of equal shapes score as in transformers, in any order and combination."""

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from zoo_of_folders import FolderZoo, plan_of

from melange.baselines.catalog import methods
from melange.harness.cache import cache_dir
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.engine_choice import EngineChoice
from melange.harness.executors.local import connect
from melange.harness.live_report import LiveReport
from melange.harness.progress import Progress
from melange.harness.prompt_lengths import PromptLengths
from melange.harness.records import Suite
from melange.harness.runner import Runner
from melange.harness.runs.writer import RunFolder
from melange.harness.verdicts import Verdict
from melange.tasks.registry import load_tasks
from melange.tasks.sources import pocket_data, task_sources

DRAWS = int(os.environ.get("MELANGE_DRAWS", "1"))
NUM_MEMBERS = 4
TASKS = ("pocket_knowledge", "pocket_mc_geography", "pocket_instructions")
WITH_BIASES = tuple(f"{one}_proj.weight" for one in "qkv")
TEMPLATE = "Asked: {{ messages[0]['content'] }}\nSaid:"

pytestmark = pytest.mark.slow


def edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(content | changes))


def two_ends(folder: Path) -> None:
    """As Llama 3's Instruct: a second end token that only the generation config has."""
    from transformers import AutoTokenizer

    frequent = AutoTokenizer.from_pretrained(folder).encode(" the", add_special_tokens=False)[-1]
    edit(folder / "generation_config.json", eos_token_id=[2, frequent])


def another_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(TEMPLATE)


def another_class(folder: Path) -> None:
    """The same function as a Qwen2, whose tokenizer splits digits differently."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    for name in [one for one in tensors if one.endswith(WITH_BIASES)]:
        tensors[name.replace("weight", "bias")] = torch.zeros(len(tensors[name])).to(tensors[name])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder / "config.json", model_type="qwen2", architectures=["Qwen2ForCausalLM"])
    edit(folder / "tokenizer_config.json", tokenizer_class="Qwen2Tokenizer")


ALIKE: Mapping[str, Callable[[Path], None]] = {
    "as_it_is": lambda folder: None,
    "two_ends": two_ends,
    "other_norms": lambda folder: edit(folder / "config.json", rms_norm_eps=1e-2),
    "other_positions": lambda folder: edit(
        folder / "config.json", rope_parameters={"rope_theta": 300.0, "rope_type": "default"}
    ),
    "another_template": another_template,
    "another_class": another_class,
    "in_bfloat16": lambda folder: edit(folder / "config.json", dtype="bfloat16"),
}


class LookAlikes(FolderZoo):
    """A zoo of these folders with the pocket world's tasks."""

    world_seed = 1


@pytest.mark.parametrize("draw", range(DRAWS))
def test_any_company_leaves_scores_as_they_are(
    zoo_folders: Mapping[str, Path], tmp_path: Path, draw: int
) -> None:
    names = random.Random(draw).sample(sorted(ALIKE), NUM_MEMBERS)
    folders = {}
    for name in names:
        folders[name] = shutil.copytree(zoo_folders["small_mix"], tmp_path / name)
        ALIKE[name](folders[name])
    checks = measured(LookAlikes(folders), tmp_path / "run")
    assert {one.candidate for one in checks} == set(names)
    assert {one.verdict for one in checks} == {Verdict.AGREED}, checks
    assert len(checks) == NUM_MEMBERS * 2 * 8, "eight examples of either kind"


def measured(zoo: LookAlikes, out: Path) -> list[Any]:
    """Results of the run's self-check of every example of every candidate."""
    known = load_tasks()
    tasks = {name: known[name] for name in TASKS}
    chat = known["pocket_instructions"].model_copy(update={"chat": True})
    tasks["pocket_instructions"] = chat
    suite = Suite(
        name="alike", tasks={"pocket": TASKS}, limit=24, reference="",
        candidates=({"method": "checkpoint", "roles": list(zoo.roles)},),
    )  # fmt: skip
    plan = plan_of(suite, zoo, tasks)
    speed = {(one.name, None) for one in plan.candidates}  # not needed here
    plan = plan_of(suite, zoo, tasks, done=speed)
    sources = task_sources(plan.tasks, pocket_data(1, cache_dir()))
    entries = {one.name: (one, sources[one.name]) for one in plan.tasks}
    engines = EngineChoice("cpu", (), PromptLengths(lambda: entries, limit=24, seed=0), None)
    folder = RunFolder(out)
    folder.prepare()
    with closing(Progress(plan)) as progress, closing(LiveReport(folder, progress.say)) as live:
        Runner(
            plan,
            Checkpoints(zoo, methods()),
            folder,
            entries,
            engines,
            progress,
            live,
            connect,
            num_checks=8,
        ).run()
    return list(folder.checks())
