"""Experts as PEFT adapters, and candidates exported as folders that vLLM serves."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from command_line import run_here
from safetensors.torch import load_file
from torch.testing import assert_close
from zoo_of_folders import made

from melange.baselines.catalog import methods
from melange.baselines.options import candidate_name
from melange.baselines.proxy.tuning import Pair, mix_members
from melange.baselines.zoo.catalog import open_zoo
from melange.harness.checkpoints.adapters import check_adapter
from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.engines.fused.folder import read_folder
from melange.harness.errors import HarnessError
from melange.harness.export import export
from melange.harness.recipes.logit_mix import LogitMix
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate

pytestmark = pytest.mark.slow

ADAPTER = "lora_small_mix"


def candidate(recipe: Weights | LogitMix) -> Candidate:
    return Candidate(name=candidate_name("it", True), family="any", recipe=recipe)


def proxy(**pair: object) -> Candidate:
    members = mix_members("large_base", [Pair(antiexpert="small_base", **pair)])
    return candidate(LogitMix(method="proxy", members=members))


@torch.inference_mode()
def test_a_merged_adapter_answers_as_peft_does(zoo_folders: Mapping[str, Path]) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    fingerprints = {role: role for role in zoo_folders}
    recipe = Weights(method="adapter", inputs=("small_base", ADAPTER))
    merged = made(candidate(recipe), zoo_folders, fingerprints)
    ids = torch.arange(5, 60)[None]
    base = AutoModelForCausalLM.from_pretrained(zoo_folders["small_base"], dtype=torch.float32)
    plain = base(ids).logits
    expected = PeftModel.from_pretrained(base, zoo_folders[ADAPTER])(ids).logits
    found = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)(ids).logits
    assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (plain - expected).abs().max() > 0.1


def test_an_adapter_of_another_base_is_refused(zoo_folders: Mapping[str, Path]) -> None:
    check_adapter(zoo_folders["small_base"], zoo_folders[ADAPTER])
    with pytest.raises(HarnessError, match="trained over"):
        check_adapter(zoo_folders["large_base"], zoo_folders[ADAPTER])


def test_a_folder_without_an_adapter_is_refused(
    zoo_folders: Mapping[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(HarnessError, match="lacks adapter_config"):
        check_adapter(zoo_folders["small_base"], zoo_folders["small_mix"])
    other = shutil.copytree(zoo_folders[ADAPTER], tmp_path / "prompt")
    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "IA3"}))
    with pytest.raises(HarnessError, match="'IA3'; only LORA"):
        check_adapter(zoo_folders["small_base"], other)


def test_a_mix_is_exported_as_a_folder_of_its_members(
    zoo_folders: Mapping[str, Path], tmp_path: Path
) -> None:
    zoo = open_zoo("pocket")
    export(proxy(adapter=ADAPTER, alpha=0.5), Checkpoints(zoo, methods()), tmp_path / "served")
    folder = read_folder(tmp_path / "served")
    assert folder.coefficients == (1.0, 0.5, -0.5)
    base, expert, antiexpert = folder.members
    assert (base, antiexpert) == (zoo.folder("large_base"), zoo.folder("small_base"))
    assert inspect(expert).shapes == inspect(antiexpert).shapes


def test_an_average_is_exported_as_a_checkpoint(
    zoo_folders: Mapping[str, Path], tmp_path: Path
) -> None:
    zoo = open_zoo("pocket")
    steps = [role for role in zoo.roles if role.startswith("large_base@")][-2:]
    export(
        candidate(Weights(method="lawa", inputs=tuple(steps))),
        Checkpoints(zoo, methods()),
        tmp_path / "served",
    )
    mean = load_file(tmp_path / "served" / "model.safetensors")["model.norm.weight"]
    each = [load_file(zoo.folder(one) / "model.safetensors")["model.norm.weight"] for one in steps]
    assert_close(mean, (each[0].float() + each[1].float()) / 2)


def test_what_cannot_be_exported_is_told(zoo_folders: Mapping[str, Path], tmp_path: Path) -> None:
    zoo = open_zoo("pocket")
    with pytest.raises(HarnessError, match="prompts of its own"):
        export(
            proxy(expert="small_mix", own_prompt=True),
            Checkpoints(zoo, methods()),
            tmp_path / "out",
        )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(HarnessError, match="not empty"):
        export(proxy(expert="small_mix"), Checkpoints(zoo, methods()), tmp_path / "full")


def test_what_an_exported_mix_names_stays(tmp_path: Path) -> None:
    """Its folders must exist after the command has ended."""
    out = tmp_path / "served"
    done = run_here("export", "proxy-lora_small_mix-a1.0", out, "--zoo", "pocket")
    assert done.returncode == 0, done.stderr
    assert all((folder / "model.safetensors").is_file() for folder in read_folder(out).members)
