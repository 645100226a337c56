"""Different checkpoints of equal shapes share no engine and no tokenizer."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from melange.harness.checkpoints.info import inspect
from melange.harness.evaluators.tokenizers import tokenizer_key


@pytest.fixture
def pair(zoo_folders: Mapping[str, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint, and a copy that a test may change."""
    original = zoo_folders["small_mix"]
    return original, shutil.copytree(original, tmp_path / "copy")


def edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(content | changes))


@pytest.mark.parametrize(
    ("file", "change"),
    [
        # As Llama 3 and its Instruct: the fine-tune has another end token.
        ("generation_config.json", {"eos_token_id": [2, 7]}),
        ("config.json", {"eos_token_id": 7}),
        # As Granite, OLMoE, Gemma 2: numbers in the config that the forward pass uses.
        ("config.json", {"logits_scaling": 4.0}),
        ("config.json", {"norm_topk_prob": True}),
        ("config.json", {"final_logit_softcapping": 30.0}),
        ("config.json", {"layer_types": ["sliding_attention", "full_attention"]}),
        ("config.json", {"a_key_that_nobody_knows_yet": 1}),
        ("tokenizer_config.json", {"clean_up_tokenization_spaces": True}),
    ],
)
def test_what_may_matter_asks_for_an_engine_of_its_own(
    pair: tuple[Path, Path], file: str, change: dict[str, Any]
) -> None:
    original, copy = pair
    assert inspect(copy).signature == inspect(original).signature
    edit(copy / file, **change)
    assert inspect(copy).signature != inspect(original).signature


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {"transformers_version": "4.40.0", "_name_or_path": "elsewhere"}),
        ("config.json", {"attention_dropout": 0.1, "use_cache": False}),
        ("tokenizer_config.json", {"chat_template": "{{ messages }}"}),
    ],
)
def test_what_is_known_not_to_matter_shares_one(
    pair: tuple[Path, Path], file: str, change: dict[str, Any]
) -> None:
    original, copy = pair
    edit(copy / file, **change)
    assert inspect(copy).signature == inspect(original).signature


def test_equal_files_read_by_another_class_are_another_tokenizer(pair: tuple[Path, Path]) -> None:
    """config.json's model_type selects the class, and Qwen2's splits digits differently."""
    original, copy = pair
    assert tokenizer_key(copy) == tokenizer_key(original)
    qwen = shutil.copytree(copy, copy.parent / "qwen")
    edit(qwen / "config.json", model_type="qwen2", architectures=["Qwen2ForCausalLM"])
    edit(qwen / "tokenizer_config.json", tokenizer_class="Qwen2Tokenizer")
    assert tokenizer_key(qwen) != tokenizer_key(original)


def test_another_chat_template_is_another_tokenizer(pair: tuple[Path, Path]) -> None:
    original, copy = pair
    (copy / "chat_template.jinja").unlink()
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    assert tokenizer_key(copy) != tokenizer_key(original)
