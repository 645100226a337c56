"""What token ids mean, by tokenizer files alone.

Whether two checkpoints also turn text into the same ids depends on more than these files, and is
asked of the tokenizers as they are loaded.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from melange.harness.checkpoints.weight_files import read_json
from melange.harness.errors import HarnessError

Vocabulary = dict[str, int]


def read_vocabulary(path: Path) -> Vocabulary | None:
    """Token -> id, added tokens included; None if there is no tokenizer.json.

    Raises:
        HarnessError: tokenizer.json is none.
    """
    file = path / "tokenizer.json"
    if not file.is_file():
        return None
    content = read_json(file)
    try:
        return _tokens(content) | {
            token["content"]: token["id"] for token in content.get("added_tokens", [])
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        raise HarnessError(f"{file}: is not a tokenizer; fetch or build the checkpoint.") from None


def _tokens(content: dict[str, Any]) -> Vocabulary:
    tokens = content["model"]["vocab"]
    if isinstance(tokens, list):  # Unigram models list [token, score].
        return {token: index for index, (token, _) in enumerate(tokens)}
    return dict(tokens)


def num_tokens(path: Path) -> int | None:
    """Number of token ids that the tokenizer uses; None if there is no tokenizer.json."""
    vocabulary = read_vocabulary(path)
    return max(vocabulary.values()) + 1 if vocabulary else None


def vocabulary_hash(path: Path) -> str | None:
    """Equal if token ids mean the same; None if the folder has no tokenizer."""
    vocabulary = read_vocabulary(path)
    if vocabulary is not None:
        content = json.dumps(sorted(vocabulary.items())).encode()
    elif (path / "tokenizer.model").is_file():
        content = (path / "tokenizer.model").read_bytes()
    else:
        return None
    return hashlib.sha256(content).hexdigest()[:16]


def check_same_tokens(base: Path, other: Path) -> None:
    """The base's tokens must have the same ids in `other`, which may have more behind them.

    Raises:
        HarnessError: they have not, or nobody can tell.
    """
    if _bytes(base / "tokenizer.json") == _bytes(other / "tokenizer.json") is not None:
        return  # Parsing a large vocabulary takes a second.
    ours, theirs = read_vocabulary(base), read_vocabulary(other)
    if ours is None or theirs is None:
        if vocabulary_hash(base) == vocabulary_hash(other) is not None:
            return
        raise HarnessError(f"{other}: cannot compare tokens with {base}; add tokenizer.json.")
    moved = [token for token, index in ours.items() if theirs.get(token) != index]
    if moved:
        raise HarnessError(
            f"{other}: {len(moved)} of the {len(ours)} tokens of {base} have other ids, "
            f"{moved[0]!r} among them; combine models that share a tokenizer."
        )


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None
