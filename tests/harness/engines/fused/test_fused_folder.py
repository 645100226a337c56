"""Folders of fused models: their contents, and the inputs that are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from fused_models import TOKENIZER

from melange.harness.engines.fused.folder import is_fused, read_folder, write_folder
from melange.harness.errors import HarnessError

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "bfloat16",
    "vocab_size": 96,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 256,
}


def stand_in(out: Path, **config: Any) -> Path:
    """A checkpoint with only the files that a plan reads."""
    TOKENIZER.save_pretrained(out)
    (out / "config.json").write_text(json.dumps(CONFIG | config))
    (out / "model.safetensors").touch()
    return out


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    return [stand_in(tmp_path / name) for name in ("base", "expert", "antiexpert")]


def test_a_folder_reads_as_it_was_written(three: list[Path], tmp_path: Path) -> None:
    written = write_folder(tmp_path / "out", three, [1, 0.3, -0.3], plausibility=0.1)
    assert read_folder(tmp_path / "out") == written
    assert is_fused(tmp_path / "out")
    assert not is_fused(three[0])
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (
        three[0] / "tokenizer.json"
    ).read_bytes()


def test_a_folder_may_be_written_again(three: list[Path], tmp_path: Path) -> None:
    write_folder(tmp_path / "out", three, [1, 0.3, -0.3])
    write_folder(tmp_path / "out", three, [1, 0.4, -0.4])
    assert read_folder(tmp_path / "out").coefficients == (1, 0.4, -0.4)


def test_members_inside_the_folder_move_with_it(tmp_path: Path) -> None:
    for name in ("base", "expert"):
        stand_in(tmp_path / "members" / name)
    out = tmp_path / "out"
    write_folder(out, [tmp_path / "members" / "base"] * 2, [1, 1])
    (tmp_path / "members").rename(out / "members")
    inside = [out / "members" / name for name in ("base", "expert")]
    write_folder(out, inside, [1, 1])
    moved = out.rename(tmp_path / "moved")
    assert read_folder(moved).members == (moved / "members/base", moved / "members/expert")


def test_the_context_is_the_shortest_members_whatever_their_windows(tmp_path: Path) -> None:
    base = stand_in(tmp_path / "base", max_position_embeddings=512)
    windowed = stand_in(tmp_path / "windowed", sliding_window=128)
    write_folder(tmp_path / "out", [base, windowed], [1, 1])
    content = json.loads((tmp_path / "out" / "config.json").read_text())
    assert content["max_position_embeddings"] == 256
    assert read_folder(tmp_path / "out").context_length == 256


def test_members_of_one_shape_share_no_compiled_code(three: list[Path], tmp_path: Path) -> None:
    """vLLM's cache key is the config's JSON, and compiled code has a member's layer names."""
    from melange.harness.engines.fused.config import LogitArithmeticConfig

    write_folder(tmp_path / "out", three, [1, 1, -1])
    config = LogitArithmeticConfig.from_pretrained(tmp_path / "out")
    assert len({member.to_json_string() for member in config.member_configs().values()}) == 3


@pytest.mark.parametrize(
    ("coefficients", "reduction", "plausibility", "message"),
    [
        ([1, float("nan"), 0], "logits", None, "finite"),
        ([1, float("inf"), 0], "logits", None, "finite"),
        ([1, -1], "logits", None, "for 3 models; give one for each"),
        ([1, 1, -1], "probabilities", None, "positive numbers that add up to 1"),
        ([0.5, 0.2, 0.2], "probabilities", None, "positive numbers that add up to 1"),
        ([1, 1, -1], "logits", 0.0, "0 < plausibility <= 1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    three: list[Path],
    tmp_path: Path,
    coefficients: list[float],
    reduction: Any,
    plausibility: float | None,
    message: str,
) -> None:
    with pytest.raises(HarnessError, match=message) as error:
        write_folder(tmp_path / "out", three, coefficients, reduction, plausibility=plausibility)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"vocab_size": 95}, "95 tokens in the vocabulary, the base .* has 96"),
        ({"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel cannot be a part"),
        ({"quantization_config": {"quant_method": "fp8"}}, "is quantized"),
    ],
)
def test_members_that_cannot_be_combined_are_refused(
    three: list[Path], tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    stand_in(three[1], **config)
    with pytest.raises(HarnessError, match=message):
        write_folder(tmp_path / "out", three, [1, 1, -1])


def test_other_tokens_are_refused(three: list[Path], tmp_path: Path) -> None:
    text = (three[1] / "tokenizer.json").read_text()
    (three[1] / "tokenizer.json").write_text(text.replace('"w7":', '"other":'))
    with pytest.raises(HarnessError, match="1 of the 96 tokens of .*'w7' among them"):
        write_folder(tmp_path / "out", three, [1, 1, -1])


def test_a_missing_member_is_refused(three: list[Path], tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="gone: no such checkpoint folder"):
        write_folder(tmp_path / "out", [*three[:2], tmp_path / "gone"], [1, 1, -1])
    write_folder(tmp_path / "out", three, [1, 1, -1])
    three[2].rename(tmp_path / "elsewhere")
    with pytest.raises(HarnessError, match="antiexpert: no such checkpoint folder"):
        read_folder(tmp_path / "out")


def test_a_member_that_changed_since_is_refused(three: list[Path], tmp_path: Path) -> None:
    write_folder(tmp_path / "out", three, [1, 1, -1])
    stand_in(three[1], rope_theta=1e6)
    with pytest.raises(HarnessError, match="expert: has another config.json than when"):
        read_folder(tmp_path / "out")


def test_coefficients_edited_by_hand_are_refused(three: list[Path], tmp_path: Path) -> None:
    """vLLM would load the old coefficients from the weight file."""
    write_folder(tmp_path / "out", three, [1, 1, -1])
    file = tmp_path / "out" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"coefficients": [1, 2, -2]}))
    with pytest.raises(HarnessError, match="other numbers than config.json"):
        read_folder(tmp_path / "out")


def test_a_checkpoint_is_not_overwritten(three: list[Path]) -> None:
    with pytest.raises(HarnessError, match="is not empty; name a new folder"):
        write_folder(three[0], three, [1, 1, -1])


def test_planning_needs_neither_torch_nor_vllm() -> None:
    import subprocess
    import sys

    code = (
        "import sys, melange.harness.engines.fused.folder;"
        "print([name for name in ('torch', 'vllm', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
