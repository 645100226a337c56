"""Whether two checkpoints mean the same by a token id, from their tokenizer files alone."""

import json
from pathlib import Path
from typing import Any

from melange.harness.errors import HarnessError

COMPANIONS = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
    "generation_config.json",
)
"""Files that say how text becomes tokens and how to sample; all of them are the base's."""


def check_same_tokens(base: Path, other: Path) -> None:
    """The base's tokens must have the same ids in `other`, which may have more behind them.

    Raises:
        HarnessError: they have not, or nobody can tell.
    """
    if _bytes(base / "tokenizer.json") == _bytes(other / "tokenizer.json") is not None:
        return  # Parsing a large vocabulary takes a second.
    ours, theirs = _vocabulary(base), _vocabulary(other)
    if ours is None or theirs is None:
        if _bytes(base / "tokenizer.model") == _bytes(other / "tokenizer.model") is not None:
            return
        raise HarnessError(f"{other}: cannot compare tokens with {base}; add tokenizer.json.")
    moved = [token for token, index in ours.items() if theirs.get(token) != index]
    if moved:
        raise HarnessError(
            f"{other}: {len(moved)} of the {len(ours)} tokens of {base} have other ids, "
            f"{moved[0]!r} among them; combine models that share a tokenizer."
        )


def num_tokens(path: Path) -> int | None:
    """Token ids that the tokenizer uses, from 0 on; None where there is no tokenizer.json."""
    vocabulary = _vocabulary(path)
    return max(vocabulary.values()) + 1 if vocabulary else None


def _vocabulary(path: Path) -> dict[str, int] | None:
    """Token to id, added tokens included; None where there is no tokenizer.json."""
    file = path / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return _base_tokens(content) | {
            token["content"]: token["id"] for token in content.get("added_tokens", [])
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        raise HarnessError(f"{file}: is no tokenizer; fetch or build the checkpoint.") from None


def _base_tokens(content: dict[str, Any]) -> dict[str, int]:
    tokens = content["model"]["vocab"]
    if isinstance(tokens, list):  # Unigram models list [token, score].
        return {token: index for index, (token, _) in enumerate(tokens)}
    return dict(tokens)


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None
