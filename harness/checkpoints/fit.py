"""Whether a checkpoint can be served, and whether several can be combined, by headers alone.

Without torch or tensor data, since plans ask this of every candidate.
"""

from collections.abc import Sequence

from melange.harness.checkpoints.configs import read_config
from melange.harness.checkpoints.info import CheckpointInfo
from melange.harness.checkpoints.served import unserved_architecture
from melange.harness.checkpoints.tensor_shapes import Shapes, expected_shapes
from melange.harness.errors import HarnessError


def check_servable(info: CheckpointInfo) -> None:
    """
    Raises:
        HarnessError: vLLM does not run the model, it continues no text, or its files hold other
            tensors than its config.json promises, where that is known.
    """
    config = read_config(info.path)
    if reason := unserved_architecture(config):
        raise HarnessError(f"{info.path}: {reason}.")
    expected = None if info.quantization else expected_shapes(config)
    for name, shape in (expected or {}).items():
        if info.shapes.get(name) != shape:
            found = list(info.shapes[name]) if name in info.shapes else "missing"
            raise HarnessError(
                f"{info.path}: {name} is {found}, its config.json promises {list(shape)}; fetch or "
                "build the checkpoint again."
            )


def check_full_weights(info: CheckpointInfo) -> None:
    """
    Raises:
        HarnessError: the weights are packed, so that no arithmetic on them makes sense.
    """
    if info.quantization:
        raise HarnessError(
            f"{info.path}: is quantized ({info.quantization}); combine the full weights that it "
            "was made from."
        )


def check_alike(infos: Sequence[CheckpointInfo]) -> None:
    """
    Raises:
        HarnessError: the weights of one cannot be combined with the first one's.
    """
    for info in infos:
        check_full_weights(info)
    for other in infos[1:]:
        check_compatible(infos[0], other)


def check_compatible(base: CheckpointInfo, other: CheckpointInfo) -> None:
    """
    Raises:
        HarnessError: the weights of the two cannot be combined tensor by tensor.
    """
    if other.vocab_size != base.vocab_size:
        raise HarnessError(
            f"{other.path}: {other.vocab_size} tokens in the vocabulary, {base.path} has "
            f"{base.vocab_size}; combine models that share a tokenizer."
        )
    if base.tokenizer and other.tokenizer and other.tokenizer != base.tokenizer:
        raise HarnessError(
            f"{other.path}: other tokens than {base.path}, though as many; "
            "combine models that share a tokenizer."
        )
    if other.architecture != base.architecture:
        raise HarnessError(
            f"{other.path}: {other.architecture}, but {base.path} is {base.architecture}; "
            "combine models of one architecture."
        )
    if other.shapes != base.shapes:
        raise HarnessError(
            f"{other.path}: {first_difference(base.shapes, other.shapes)} in {base.path}; "
            "combine models of one shape."
        )


def first_difference(expected: Shapes, found: Shapes) -> str:
    """The first tensor that differs, as `NAME is [2, 3], but [2, 4]`."""
    name = min(name for name in expected | found if expected.get(name) != found.get(name))
    here = f"is {list(found[name])}" if name in found else "is missing"
    there = str(list(expected[name])) if name in expected else "none"
    return f"{name} {here}, but {there}"
