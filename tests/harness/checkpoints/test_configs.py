"""Reading config.json of architectures that use other keys."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from architectures import SIZES, make, rewrite
from places import ROOT
from quantized import KINDS, quantize
from transformers import AutoConfig, AutoModelForCausalLM

from melange.harness.checkpoints.configs import NEEDED, common_config, declared, read_config
from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.quantization import unserved
from melange.harness.checkpoints.served import unserved_architecture
from melange.harness.errors import HarnessError

GEMMA3 = {  # as in gemma-3-4b; its other keys have transformers' defaults
    "model_type": "gemma3",
    "architectures": ["Gemma3ForConditionalGeneration"],
    "dtype": "bfloat16",
    "text_config": {"hidden_size": 2560, "model_type": "gemma3_text", "num_hidden_layers": 34},
    "vision_config": {"hidden_size": 1152},
}


def edited(folder: Path, **changes: object) -> Path:
    config = json.loads((folder / "config.json").read_text()) | changes
    kept = {key: value for key, value in config.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(kept))
    return folder


@pytest.mark.parametrize("kind", [kind for kind in SIZES if kind != "Mamba"])
def test_what_is_read_is_what_transformers_says(kind: str, tmp_path: Path) -> None:
    path = make(kind, tmp_path / "model")
    config, found = AutoConfig.from_pretrained(path), common_config(read_config(path))
    for key in (*NEEDED, "tie_word_embeddings", "is_encoder_decoder"):
        assert found.get(key, False) == getattr(config, key, False), key
    info = inspect(path)
    model = AutoModelForCausalLM.from_pretrained(path)
    # DeepSeek's routers store a trained bias as a buffer.
    biases = [one for name, one in model.named_buffers() if name.endswith("correction_bias")]
    assert info.num_parameters == model.num_parameters() + sum(map(torch.numel, biases))
    assert info.context_length == (2048 if kind == "Bloom" else 128)  # ALiBi has no limit


@pytest.mark.parametrize(
    ("kind", "heads"), [("Falcon", 1), ("GPTBigCode", 1), ("Mpt", 2), ("Bloom", 2), ("GPT2", 2)]
)
def test_keys_and_values_are_counted_by_their_heads(kind: str, heads: int, tmp_path: Path) -> None:
    info = inspect(make(kind, tmp_path / "model"))
    assert info.kv_bytes_per_token == 2 * 2 * heads * 32 * 4


def test_a_falcon_as_the_hub_has_it_needs_no_maximum(tmp_path: Path) -> None:
    path = edited(make("Falcon", tmp_path / "model"), max_position_embeddings=...)
    assert inspect(path).context_length == 2048


def test_a_multimodal_folder_is_read_as_its_language_model() -> None:
    found = common_config(GEMMA3)
    assert [found[key] for key in NEEDED] == [262208, 2560, 34, 8]
    assert (found["head_dim"], found["dtype"]) == (256, "bfloat16")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "an encoder and"),
        ({"model_type": "mamba", "architectures": ["MambaForCausalLM"]}, "mamba has none"),
        ({"model_type": "new", "architectures": ["NewForCausalLM"]}, "transformers knows no 'new'"),
        ({"model_type": "llama"}, "lacks architectures"),
    ],
)  # fmt: skip
def test_what_is_no_decoder_is_told_in_one_line(config: dict, says: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(HarnessError, match=says) as error:
        read_config(tmp_path)
    assert "\n" not in str(error.value)
    assert "use a model" in str(error.value) or "name the" in str(error.value)


def test_reading_a_foreign_config_takes_no_import_of_transformers() -> None:
    code = (
        "import sys; from melange.harness.checkpoints.configs import declared;"
        "[declared(one) for one in ('gpt2', 'gemma3_text', 'no such type')];"
        "print(*{'torch', 'transformers', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_type_that_nobody_knows_has_no_names() -> None:
    assert declared("no such type") is None


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "does not generate text"),
        ({"architectures": ["Phi3SmallForCausalLM"]}, "the installed vLLM, which had it up to 0.9"),
        ({"architectures": ["GPTNeoForCausalLM"], "model_type": "gpt_neo"}, "neither in vLLM nor"),
        ({"architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3"}, ""),
        ({"architectures": ["OwnForCausalLM"], "model_type": "own", "auto_map": {"A": "b"}}, ""),
        (GEMMA3, "takes images, for which vLLM needs torchvision"),
        ({"architectures": ["GPT2LMHeadModel"]}, ""),
        ({"architectures": ["LlamaForCausalLM"]}, ""),
    ],
)  # fmt: skip
def test_what_vllm_does_not_start_is_told(
    config: dict, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    said = unserved_architecture(config)
    assert says in said
    assert bool(said) == bool(says)


# Parameters


def test_a_token_uses_two_of_eight_experts(tmp_path: Path) -> None:
    """With the key of the hub's files."""
    sizes = {"num_experts": 8, "num_attention_heads": 2, "vocab_size": 400}
    path = make("Qwen3Moe", tmp_path / "model", **sizes)
    edited(path, num_local_experts=..., num_experts=8)
    info = inspect(path)
    assert info.num_parameters - info.num_active_parameters == 2 * 6 * 3 * 64 * 32


@pytest.mark.parametrize("kind", ["Mixtral", "Qwen2Moe", "Olmoe", "GraniteMoe", "DeepseekV3"])
def test_half_of_the_routed_experts_are_idle(kind: str, tmp_path: Path) -> None:
    info = inspect(make(kind, tmp_path / "model"))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    experts = [
        parameter.numel()
        for name, parameter in model.named_parameters()
        if ".experts." in name or name.endswith(("input_linear.weight", "output_linear.weight"))
    ]
    assert info.num_parameters - info.num_active_parameters == sum(experts) // 2 > 0


def test_masks_and_tables_are_no_parameters(tmp_path: Path) -> None:
    """They are larger than a small Pythia's weights, and would make bool its dtype."""
    path = make("GPTNeoX", tmp_path / "model")
    plain = inspect(path)
    masks = {
        f"gpt_neox.layers.{layer}.attention.bias": torch.ones(1, 1, 512, 512, dtype=torch.bool)
        for layer in range(2)
    }
    masks["gpt_neox.layers.0.attention.masked_bias"] = torch.tensor(-1e9)
    masks["gpt_neox.layers.0.attention.rotary_emb.inv_freq"] = torch.ones(8)
    rewrite(edited(path, dtype=...), lambda state: state | masks)
    info = inspect(path)
    assert info.dtype == "float32"
    assert info.num_parameters == plain.num_parameters
    assert info.weights_bytes == plain.weights_bytes
    assert info.signature == plain.signature


# Quantized checkpoints


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_checkpoint_stands_for_the_weights_it_was_made_from(
    kind: str, tmp_path: Path
) -> None:
    full = make("Llama", tmp_path / "full")
    info = inspect(edited(quantize(full, tmp_path / kind, kind), dtype=...))
    assert info.num_parameters == inspect(full).num_parameters
    assert info.dtype == "bfloat16"
    assert info.weights_bytes < inspect(full).weights_bytes / 2
    assert info.quantization.startswith(KINDS[kind][1]["quant_method"])


@pytest.mark.parametrize(
    ("kind", "dtype", "says"),
    [
        ("", "float32", ""),
        ("gptq", "bfloat16", ""),
        ("awq", "float16", ""),
        ("compressed-tensors int-quantized", "bfloat16", ""),
        ("compressed-tensors int-quantized", "float32", "in bfloat16 and not in float32"),
        ("compressed-tensors float-quantized", "bfloat16", "which a CPU does not run"),
        ("bitsandbytes", "bfloat16", "which a CPU does not run"),
    ],
)
def test_what_a_cpu_does_not_run_is_told(kind: str, dtype: str, says: str) -> None:
    said = unserved(kind, dtype, "cpu")
    assert says in said
    assert bool(said) == bool(says)
    assert unserved(kind, dtype, "cuda") == ""


# Served


@pytest.mark.slow
def test_an_engine_scores_a_gpt2_as_transformers_does(tmp_path: Path) -> None:
    path = make("GPT2", tmp_path / "model")
    program = ROOT / "tests" / "support" / "scored_alone.py"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(program), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    scores = json.loads(done.stdout.strip().splitlines()[-1])
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    for (context, continuation), score in scores:
        with torch.inference_mode():
            rows = model(torch.tensor([context + continuation])).logits[0].log_softmax(-1)
        after = rows[len(context) - 1 : -1]
        expected = sum(float(row[token]) for row, token in zip(after, continuation, strict=True))
        assert score == pytest.approx(expected, abs=1e-3)
