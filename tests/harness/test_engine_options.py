"""Engine options that are set, their defaults, and those that are impossible."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from command_line import run_here
from hypothesis import given
from hypothesis import strategies as st
from places import DATA, ROOT

from melange.baselines.zoo.public import PublicZoo
from melange.harness.checkpoints.info import inspect
from melange.harness.engine_choice import requested, too_short, unfit
from melange.harness.engine_shapes import (
    LEAST_KV_BYTES,
    SHORT_CONTEXT,
    Work,
    as_computed,
    context,
    kv_cache_bytes,
    shape_of,
)
from melange.harness.errors import HarnessError
from melange.harness.recipes.weights import Weights
from melange.harness.records import Candidate, EngineOptions, Workload
from melange.harness.requests import Length

LOAD = Workload(name="8/8", prompt_tokens=8, output_tokens=8, num_requests=4)
SUITE = """\
tasks: {public: [arc_easy]}
rounds: 1
limit: 4
workloads: [{name: 8/8, prompt_tokens: 8, output_tokens: 8, num_requests: 2}]
candidates: [{method: checkpoint, roles: [long, short]}]
reference: short
"""


@pytest.fixture(scope="module")
def workplace(zoo_folders: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of a model with a short context, and of the same with that of Llama 3.1."""
    folder = tmp_path_factory.mktemp("options")
    long = shutil.copytree(zoo_folders["small_mix"], folder / "long")
    content = json.loads((long / "config.json").read_text())
    (long / "config.json").write_text(json.dumps(content | {"max_position_embeddings": 131072}))
    roles = {
        "long": {"model": str(long), "engine": {"max_model_len": None}},
        "short": str(zoo_folders["small_mix"]),
    }
    (folder / "zoo.yaml").write_text(json.dumps({"roles": roles, "engine": {}}))
    (folder / "suite.yaml").write_text(SUITE)
    return folder


def run(workplace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    data = {"MELANGE_DATA": str(DATA / "public")}
    named = ["--zoo", str(workplace / "zoo.yaml"), "--suite", str(workplace / "suite.yaml")]
    return subprocess.run(
        [sys.executable, str(ROOT / "run_all.py"), *named, *arguments],
        capture_output=True, text=True, env=os.environ | data, check=False,
    )  # fmt: skip


def plan(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> subprocess.CompletedProcess[str]:
    monkeypatch.setenv("MELANGE_DATA", str(DATA / "public"))
    named = ["--zoo", str(workplace / "zoo.yaml"), "--suite", str(workplace / "suite.yaml")]
    return run_here("plan", *named, *arguments)


def zoo_of(tmp_path: Path, **content: Any) -> PublicZoo:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "zoo.yaml").write_text(json.dumps(content))
    return PublicZoo.read(tmp_path / "zoo.yaml")


def merge_of(*roles: str) -> Candidate:
    return Candidate(name="m", family="merging", recipe=Weights(method="swa", inputs=roles))


def test_the_command_line_precedes_a_role_a_role_its_zoo_and_a_zoo_the_suite(
    tmp_path: Path,
) -> None:
    zoo = zoo_of(
        tmp_path,
        roles={"a": {"model": "a", "engine": {"dtype": "float16"}}, "b": {"model": "b"}},
        engine={"dtype": "bfloat16", "max_model_len": 512},
    )
    suite = EngineOptions(max_model_len=256, kv_cache_memory_bytes=2**20)
    found = requested(merge_of("a"), zoo, suite=suite, command_line=EngineOptions())
    assert found == EngineOptions(dtype="float16", max_model_len=512, kv_cache_memory_bytes=2**20)
    asked = EngineOptions(dtype="float32")
    both = requested(merge_of("a", "b"), zoo, suite=suite, command_line=asked)
    assert (both.dtype, both.max_model_len) == ("float32", 512)


def test_two_roles_of_a_candidate_must_ask_for_the_same(tmp_path: Path) -> None:
    roles = {name: {"model": name, "engine": {"dtype": dtype}}
             for name, dtype in (("a", "float16"), ("b", "float32"))}  # fmt: skip
    zoo = zoo_of(tmp_path, roles=roles)
    with pytest.raises(HarnessError, match="b asks for dtype=float32, a for dtype=float16"):
        requested(merge_of("a", "b"), zoo, suite=EngineOptions(), command_line=EngineOptions())


@given(st.integers(1, 200_000), st.integers(0, 20_000), st.integers(1, 4000))
def test_a_context_holds_the_work_or_is_the_whole_model(
    model_tokens: int, longest: int, prompt_tokens: int
) -> None:
    load = LOAD.model_copy(update={"prompt_tokens": prompt_tokens})
    served = context(model_tokens, longest, [load])
    assert served <= model_tokens
    assert served == model_tokens or served >= max(longest, prompt_tokens + 8, SHORT_CONTEXT)


@given(
    st.integers(1, 2**20), st.integers(2, 131072), st.integers(1, 512),
    st.none() | st.integers(2**20, 2**36),
)  # fmt: skip
def test_a_kv_cache_holds_one_request_of_the_whole_context(
    per_token: int, max_model_len: int, num_requests: int, memory: int | None
) -> None:
    load = LOAD.model_copy(update={"num_requests": num_requests})
    assert kv_cache_bytes(per_token, max_model_len, [load], memory) >= per_token * max_model_len


def test_the_pocket_zoo_is_served_whole_with_the_least_cache(
    zoo_folders: Mapping[str, Path],
) -> None:
    folder = zoo_folders["large_base"]
    shape = shape_of([inspect(folder)], folder, "cpu", work=Work(workloads=[LOAD]))
    assert (shape.max_model_len, shape.kv_cache_bytes) == (256, LEAST_KV_BYTES)
    assert shape_of([inspect(folder)], folder, "cuda").kv_cache_bytes is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_model_len": 512}, "max_model_len=512: .* at most 256 tokens"),
        ({"kv_cache_memory_bytes": 1000}, "kv_cache_memory_bytes=1000: one request takes .* bytes"),
        ({"gpu_memory_utilization": 0.5}, "says nothing on a CPU"),
        ({"quantization": "gptq"}, "is not quantized, and vLLM does not quantize on a CPU"),
    ],
)
def test_what_an_engine_cannot_be_is_told_with_the_numbers(
    zoo_folders: Mapping[str, Path], options: dict[str, Any], reason: str
) -> None:
    found = unfit(EngineOptions(**options), [inspect(zoo_folders["large_base"])], "cpu")
    assert re.search(reason, found)


def test_a_checkpoint_counts_in_the_types_that_it_is_computed_in(
    zoo_folders: Mapping[str, Path],
) -> None:
    folder = zoo_folders["large_base"]
    stored, halved = inspect(folder), as_computed(folder, EngineOptions(dtype="bfloat16"))
    assert (halved.dtype, 2 * halved.weights_bytes) == ("bfloat16", stored.weights_bytes)
    assert 2 * halved.kv_bytes_per_token == stored.kv_bytes_per_token
    quarter = as_computed(folder, EngineOptions(kv_cache_dtype="fp8"))
    assert 4 * quarter.kv_bytes_per_token == stored.kv_bytes_per_token
    assert halved.signature == stored.signature


def test_a_prompt_must_leave_room_for_a_token() -> None:
    lengths = {"t": Length(prompt=100, total=356)}
    assert not too_short("t", lengths, EngineOptions(max_model_len=101))
    assert too_short("t", lengths, EngineOptions(max_model_len=100)) == (
        "max_model_len=100: the longest prompt of t has 100 tokens, and 256 may follow"
    )
    assert not too_short("t", lengths, EngineOptions())


@pytest.mark.slow
def test_a_long_model_is_served_as_far_as_its_work_reaches(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    finished = run(workplace, "--out", str(out), "--dtype", "bfloat16", "--no-check")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["engine"] == {"dtype": "bfloat16"}
    assert {one["dtype"] for one in manifest["engines"].values()} == {"bfloat16"}
    assert manifest["engines"]["long"]["max_model_len"] == SHORT_CONTEXT
    again = plan(workplace, monkeypatch, "--out", str(out))
    assert again.returncode == 2
    assert "engine options {'dtype': 'bfloat16'}, this one has none" in again.stderr


@pytest.mark.slow
def test_a_context_below_a_tasks_prompts_refuses_its_cells(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(workplace, monkeypatch, "--max-model-len", "24")
    assert planned.returncode == 0, planned.stderr
    assert "max_model_len=24: the longest prompt of arc_easy has" in planned.stdout
    assert "2 cells of 2 candidates" in planned.stdout  # their speed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dtype", "int3"], "dtype='int3'"),
        (["--max-model-len", "many"], "max_model_len='many'"),
        (["--gpu-memory-utilization", "1.5"], "gpu_memory_utilization='1.5'"),
    ],
)
def test_a_wrong_option_is_the_users_mistake(
    workplace: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = plan(workplace, monkeypatch, *arguments)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert message in wrong.stderr
