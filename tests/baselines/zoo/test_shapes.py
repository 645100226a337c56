"""Zoos of shapes: facts from configs alone, and a run from the plan to the report."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from places import ROOT
from zoo_of_folders import checkpoints_of, plan_of

from melange.baselines.zoo.catalog import open_zoo
from melange.harness.checkpoints.info import CheckpointInfo, inspect
from melange.harness.engine_shapes import shape_of
from melange.harness.errors import HarnessError
from melange.harness.loads import Load
from melange.harness.measure.memory import total_bytes
from melange.harness.prepare import prepare
from melange.harness.records import EngineOptions, EngineShape, Measurement, Outcome, Plan
from melange.harness.runs.writer import RunFolder
from melange.harness.suite import find_suite, read_suite
from melange.reports.archive import archive

TRUE = "true-shapes"
TRUE_PARAMETERS = {
    "tiny_1b": 1_100_048_384,
    "small_7b": 6_738_415_616,
    "large_13b": 13_015_864_320,
    "mixture_8x7b": 46_702_792_704,
}
"""The hub's parameter counts of the public checkpoints."""
H100_BYTES, H200_BYTES = 81_559 * 2**20, 143_771 * 2**20
"""As reported by nvidia-smi."""
FUSED = "fused-13b+7b-7b"
SERVED = ("tiny_1b", "small_7b", "large_13b", FUSED)

TINY: dict[str, Any] = {
    "architecture": "LlamaForCausalLM",
    "dtype": "float32",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 128,
}
HUGE = TINY | {"hidden_size": 2**20, "num_hidden_layers": 100}
ZOO = {
    "kind": "shapes",
    "name": "tiny-shapes",
    "shapes": {"tiny": TINY, "wide": TINY | {"hidden_size": 128}, "huge": HUGE},
    "roles": {
        "tiny_1b": "tiny",
        "small_7b": "tiny",
        "small_7b_tuned": "tiny",
        "large_13b": "wide",
        "mixture_8x7b": "huge",
    },
}


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty cache for this module, including runs that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELANGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def zoo_file(folder: Path, content: dict[str, Any]) -> str:
    path = folder / "zoo.yaml"
    path.write_text(json.dumps(content))
    return str(path)


def parameters_in_transformers(folder: Path) -> int:
    """Counted on a model on the meta device."""
    torch = pytest.importorskip("torch")
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("role", TRUE_PARAMETERS)
def test_a_true_shape_has_the_parameters_of_the_public_model(role: str) -> None:
    zoo = open_zoo(TRUE)
    folder = zoo.build([role])[role]
    info = inspect(folder)
    assert info.num_parameters == TRUE_PARAMETERS[role] == parameters_in_transformers(folder)
    assert info.weights_bytes == zoo.weights_bytes(role) == 2 * info.num_parameters
    assert not list(folder.glob("*.safetensors"))


def test_a_shapes_tokenizer_has_a_token_for_every_row_of_the_embedding() -> None:
    from transformers import AutoTokenizer

    folder = open_zoo(TRUE).build(["small_7b"])["small_7b"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == inspect(folder).vocab_size
    assert tokenizer("w3 w31999")["input_ids"] == [3, 31999]
    assert tokenizer.decode([3, 31999]) == "w3 w31999"


def test_a_checkpoint_that_lacks_its_weights_is_no_shape(tmp_path: Path) -> None:
    folder = open_zoo(TRUE).build(["tiny_1b"])["tiny_1b"]
    config = json.loads((folder / "config.json").read_text())
    del config["load_format"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(HarnessError, match="no model.safetensors"):
        inspect(tmp_path)


def test_weights_put_in_the_place_of_random_ones_do_not_pass_as_the_same() -> None:
    zoo = open_zoo(TRUE)
    path = zoo.build(["small_7b"])["small_7b"] / "config.json"
    written = path.read_text()
    path.write_text(written.replace('"load_format": "dummy"', '"load_format": "auto"'))
    assert path.read_text() != written
    assert zoo.folder("small_7b") is None
    assert zoo.build(["small_7b"]) == {"small_7b": path.parent}
    assert path.read_text() == written


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            ZOO | {"roles": {"tiny_1b": "tny"}},
            "roles.tiny_1b: shape 'tny' is unknown; did you mean",
        ),
        (ZOO | {"shapes": {"tiny": TINY | {"width": 3}}}, "shapes.tiny.width=3"),
        (ZOO | {"shapes": {"tiny": TINY | {"num_local_experts": 8}}}, "MixtralForCausalLM"),
        (ZOO | {"kind": "shape"}, "kind='shape'; allowed: public, shapes, trained"),
    ],
)
def test_a_bad_file_of_shapes_is_one_line(
    content: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(HarnessError) as caught:
        open_zoo(zoo_file(tmp_path, content))
    assert complaint.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


def gpu_check(device_bytes: int | None) -> Plan:
    path = find_suite("gpu-check")
    zoo, suite = open_zoo(TRUE), read_suite(path)
    return plan_of(suite, zoo, {}, device="cuda", device_bytes=device_bytes)


def test_the_suite_asks_for_the_papers_workloads_and_for_more_and_more_at_once() -> None:
    loads = {
        (one.prompt_tokens, one.output_tokens, one.num_requests)
        for one in gpu_check(None).suite.workloads
    }
    lengths = ((8, 512), (512, 8), (8, 8))
    papers = {(*length, at_once) for length in lengths for at_once in (1, 64)}
    assert loads == papers | {(32, 32, at_once) for at_once in (1, 4, 16, 64)}


def test_what_does_not_fit_on_the_device_is_refused_with_both_sizes() -> None:
    refused = {cell.candidate: cell.refused for cell in gpu_check(H100_BYTES).cells}
    assert refused.pop("mixture_8x7b") == (
        "needs 87.0 GiB for weights and 0.2 GiB for a request's KV cache, the device has 79.6 GiB"
    )
    assert refused == dict.fromkeys(SERVED, "")
    assert not any(cell.refused for cell in gpu_check(H200_BYTES).cells)
    needed = {cell.candidate: cell.refused for cell in gpu_check(2**30).cells}
    assert needed[FUSED].startswith("needs 49.3 GiB"), "all three members are there at once"


def on_a_gpu(served: Sequence[CheckpointInfo], load: Load, options: EngineOptions) -> EngineShape:
    return shape_of(served, load.start, "cuda", options)


def test_shapes_are_served_in_their_dtype_with_random_weights() -> None:
    plan, zoo = gpu_check(None), open_zoo(TRUE)
    paths = zoo.build(zoo.roles)
    shapes = {}
    for candidate in plan.candidates:
        shapes[candidate.name] = prepare(
            candidate, checkpoints_of(paths), EngineOptions(), on_a_gpu
        ).shape
    assert {(one.dtype, one.load_format) for one in shapes.values()} == {("bfloat16", "dummy")}
    assert len(set(shapes.values())) == len(shapes)


def test_a_mix_of_random_and_real_weights_is_refused(tmp_path: Path) -> None:
    from checkpoint_makers import make_llama

    paths = open_zoo(zoo_file(tmp_path, ZOO)).build(["large_13b", "small_7b"])
    words = [f"w{index}" for index in range(3, 512)]
    paths["small_7b_tuned"] = make_llama(tmp_path / "real", seed=0, words=["</s>", *words])
    fused = gpu_check(None).candidate(FUSED)
    with pytest.raises(HarnessError, match="no weights, other members of the mix have weights"):
        prepare(fused, checkpoints_of(paths), EngineOptions(), on_a_gpu)


def test_planning_shapes_imports_neither_torch_nor_vllm() -> None:
    code = (
        "import sys, run_all\n"
        "assert run_all.main(['--suite', 'gpu-check', '--plan']) == 0\n"
        "assert not {'torch', 'vllm', 'transformers', 'lm_eval'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A run of the suite, with shapes and workloads that are fast on a CPU."""
    folder = tmp_path_factory.mktemp("shapes")
    suite = yaml.safe_load(find_suite("gpu-check").read_text())
    for load in suite["workloads"]:
        load |= {"num_requests": min(2, load["num_requests"])}
        load |= {key: min(8, load[key]) for key in ("prompt_tokens", "output_tokens")}
    (folder / "suite.yaml").write_text(json.dumps(suite))
    command = [sys.executable, str(ROOT / "run_all.py"), "--device", "cpu"]
    command += ["--suite", str(folder / "suite.yaml"), "--zoo", zoo_file(folder, ZOO)]
    done = subprocess.run(
        [*command, "--out", str(folder / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, folder / "out"


def by_candidate(out: Path) -> dict[str, list[Measurement]]:
    found: dict[str, list[Measurement]] = {}
    for one in RunFolder(out).measurements():
        found.setdefault(one.candidate, []).append(one)
    return found


@pytest.mark.slow
def test_random_weights_are_timed_alone_and_fused(run: tuple[str, Path]) -> None:
    _, out = run
    records = by_candidate(out)
    workloads = {load.name for load in read_suite(find_suite("gpu-check")).workloads}
    for candidate in SERVED:
        lacking = [one.metric for one in records[candidate] if one.outcome is not Outcome.COMPLETED]
        # A process that served several has no peak, a zoo of shapes no training.
        assert set(lacking) <= {"peak_memory_bytes", "beyond_base_sec"}
        timed = {(one.workload, one.metric): one for one in records[candidate] if one.workload}
        assert {workload for workload, _ in timed} == workloads
        total = timed["8/512 x64", "total_tokens_per_sec"]
        assert total.value is not None
        # The reference is timed at the start and the end of each round.
        assert total.n is not None
        assert total.n >= 3
        assert total.ci_low is not None
        assert {"ttft_sec", "tpot_sec"} <= {metric for _, metric in timed}


@pytest.mark.slow
def test_recorded_sizes_are_those_of_transformers(run: tuple[str, Path], tmp_path: Path) -> None:
    _, out = run
    zoo = open_zoo(zoo_file(tmp_path, ZOO))
    paths = zoo.build(["small_7b", "large_13b"])
    small, large = (parameters_in_transformers(paths[role]) for role in paths)
    expected = {"tiny_1b": small, "small_7b": small, "large_13b": large, FUSED: large + 2 * small}
    for candidate, count in expected.items():
        values = {one.metric: one.value for one in by_candidate(out)[candidate]}
        assert values["total_params"] == count
        assert values["weights_bytes"] == 4 * count
        assert (values["needed_memory_bytes"] or 0) > 4 * count


@pytest.mark.slow
def test_a_shape_that_is_too_large_is_skipped_and_the_run_goes_on(run: tuple[str, Path]) -> None:
    printed, out = run
    (skipped,) = by_candidate(out)["mixture_8x7b"]
    assert skipped.outcome is Outcome.SKIPPED
    assert skipped.reason.startswith("needs ")
    assert skipped.reason.endswith(f"the device has {total_bytes('cpu') / 2**30:.1f} GiB")
    assert f"refused: mixture_8x7b: {skipped.reason}" in printed


@pytest.mark.slow
def test_the_report_has_a_page_of_costs_and_the_data_are_kept(
    run: tuple[str, Path], tmp_path: Path
) -> None:
    _, out = run
    page = (out / "report" / "costs.html").read_text()
    for words in (*SERVED, "8/512 x64", "Weights", "KV per token", "TTFT", "TPOT", "needs "):
        assert words in page
    kept = archive(out, tmp_path)
    assert kept.parent == tmp_path
    files = {path.name for path in kept.iterdir()}
    assert files == {"README.md", "manifest.json", "measurements.jsonl", "speed.csv", "memory.csv"}
    assert "run_all.py" in (kept / "README.md").read_text()
