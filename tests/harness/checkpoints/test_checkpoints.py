"""Facts read from a checkpoint folder without loading its tensors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoint_makers import WORDS, make_llama
from transformers import AutoModelForCausalLM

from melange.harness.checkpoints.configs import read_config
from melange.harness.checkpoints.fit import check_compatible
from melange.harness.checkpoints.info import copy_companions, inspect
from melange.harness.checkpoints.signatures import signature
from melange.harness.checkpoints.tensor_shapes import expected_shapes
from melange.harness.checkpoints.vocabularies import check_same_tokens, read_vocabulary
from melange.harness.checkpoints.weight_files import INDEX
from melange.harness.errors import HarnessError


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("llama") / "base", seed=0)


@pytest.fixture
def own(llama: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    for file in llama.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def refused(call, *arguments) -> str:
    with pytest.raises(HarnessError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_headers_say_what_transformers_loads(llama):
    info = inspect(llama)
    model = AutoModelForCausalLM.from_pretrained(llama)
    assert info.num_parameters == info.num_active_parameters == model.num_parameters()
    assert info.weights_bytes == 4 * model.num_parameters()
    assert info.shapes == {name: tuple(t.shape) for name, t in model.state_dict().items()}
    assert (info.architecture, info.dtype) == ("LlamaForCausalLM", "float32")
    assert (info.vocab_size, info.context_length) == (96, 128)
    assert info.kv_bytes_per_token == 2 * 2 * 2 * 16 * 4


def test_the_layout_is_the_one_that_transformers_writes(llama):
    assert expected_shapes(read_config(llama)) == inspect(llama).shapes


def test_shards_and_one_file_look_alike(llama, tmp_path):
    AutoModelForCausalLM.from_pretrained(llama).save_pretrained(tmp_path, max_shard_size="100KB")
    copy_companions(llama, tmp_path)
    assert (tmp_path / INDEX).is_file()
    assert inspect(tmp_path).signature == inspect(llama).signature


def test_inspection_needs_no_torch(llama):
    code = f"""
import sys
from pathlib import Path
from melange.harness.checkpoints.info import inspect
inspect(Path({str(llama)!r}))
print(*{{'torch', 'numpy', 'safetensors'}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    "change",
    [{"rope_theta": 5e5}, {"num_attention_heads": 8, "head_dim": 8}, {"num_experts_per_tok": 1}],
)
def test_one_engine_holds_no_two_configurations(llama, change):
    config = {k: v for k, v in read_config(llama).items() if k != "rope_parameters"}
    shapes = inspect(llama).shapes
    assert signature(config | change, shapes) != signature(config, shapes)


def test_the_signature_does_not_depend_on_how_rotary_settings_are_written(llama):
    config = read_config(llama)
    old = {k: v for k, v in config.items() if k != "rope_parameters"} | {"rope_theta": 10000.0}
    shapes = inspect(llama).shapes
    assert signature(old, shapes) == signature(config, shapes)


def test_a_missing_folder_is_told(tmp_path):
    assert "no such checkpoint folder" in refused(inspect, tmp_path / "nowhere")


def test_a_missing_config_is_told(own):
    (own / "config.json").unlink()
    assert "has no config.json" in refused(inspect, own)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_damaged_config_is_told(own, text):
    (own / "config.json").write_text(text)
    assert "is not a JSON object" in refused(inspect, own)


def test_missing_weights_are_told(own):
    (own / "model.safetensors").unlink()
    assert "has no model.safetensors" in refused(inspect, own)


@pytest.mark.parametrize("kept", [0, 4, 8, 1000, -1])
def test_a_truncated_file_is_refused(own, kept):
    file = own / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    message = refused(inspect, own)
    assert "truncated" in message or "no safetensors header" in message
    assert "again" in message


def test_a_file_of_another_kind_is_refused(own):
    (own / "model.safetensors").write_bytes((4).to_bytes(8, "little") + b"nope" + bytes(100))
    assert "no safetensors header" in refused(inspect, own)


def test_an_index_that_names_a_missing_file_is_told(own):
    (own / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (own / INDEX).write_text(json.dumps(index))
    assert "model-00001-of-00002.safetensors, which is not there" in refused(inspect, own)


def test_equal_checkpoints_are_compatible(llama):
    check_compatible(inspect(llama), inspect(llama))
    check_same_tokens(llama, llama)


@pytest.mark.parametrize(
    ("shape", "words", "says"),
    [
        ({}, WORDS[:-1], "95 tokens in the vocabulary"),
        ({}, WORDS[::-1], "other tokens than"),
        ({"intermediate_size": 80}, WORDS, "mlp.down_proj.weight is [64, 80], but [64, 96] in"),
        ({"num_hidden_layers": 1}, WORDS, "model.layers.1.input_layernorm.weight is missing"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_told(llama, tmp_path, shape, words, says):
    other = make_llama(tmp_path / "other", seed=1, words=words, **shape)
    assert says in refused(check_compatible, inspect(llama), inspect(other))


def test_an_expert_may_have_tokens_behind_the_bases(llama, tmp_path):
    more = make_llama(tmp_path / "more", seed=1, words=[*WORDS, "extra"])
    check_same_tokens(llama, more)
    assert "have other ids" in refused(check_same_tokens, more, llama)
    assert read_vocabulary(more)["extra"] == 96
