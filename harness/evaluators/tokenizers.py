"""Which checkpoints tokenize alike."""

import hashlib
import json
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

SLOW_FILES = ("tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json")


def tokenizer_key(path: Path) -> str:
    """Of the tokenizer as it is loaded: equal where its requests are.

    Equal files do not suffice: which class reads them hangs on config.json too, and classes split
    text in ways of their own.
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
    """All that turns text into tokens and back."""
    if (backend := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        return str(backend.to_str())
    files = [(path / name).read_bytes() for name in SLOW_FILES if (path / name).is_file()]
    return hashlib.sha256(b"\0".join(files)).hexdigest()
