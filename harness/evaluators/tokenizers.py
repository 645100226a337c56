"""Identity of tokenizers: which checkpoints tokenize alike."""

import hashlib
import json
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

SLOW_FILES = ("tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json")


def tokenizer_key(path: Path) -> str:
    """Hash of the tokenizer as it is loaded: equal if its requests are.

    Equal files do not suffice: config.json decides which class reads them, and classes differ in
    how they split text.
    """
    tokenizer = AutoTokenizer.from_pretrained(path)
    content = [
        type(tokenizer).__name__,
        _model(tokenizer, path),
        tokenizer.chat_template,
        {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        [getattr(tokenizer, name, None) for name in ("add_bos_token", "add_eos_token")],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _model(tokenizer: PreTrainedTokenizerBase, path: Path) -> str:
    """Everything that turns text into tokens and back."""
    if (backend := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        return str(backend.to_str())
    files = [(path / name).read_bytes() for name in SLOW_FILES if (path / name).is_file()]
    return hashlib.sha256(b"\0".join(files)).hexdigest()
