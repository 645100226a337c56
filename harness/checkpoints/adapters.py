"""Checks of a PEFT adapter's folder, by its config and file headers alone."""

from pathlib import Path

from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.weight_files import read_header, read_json
from melange.harness.errors import HarnessError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


def is_adapter(path: Path) -> bool:
    return (path / CONFIG).is_file()


def check_adapter(base: Path, adapter: Path) -> None:
    """
    Raises:
        HarnessError: the folder holds no LoRA adapter, or one for other modules or shapes.
    """
    if not is_adapter(adapter) or not (adapter / WEIGHTS).is_file():
        raise HarnessError(f"{adapter}: lacks {CONFIG} or {WEIGHTS}; point at a PEFT adapter.")
    kind = read_json(adapter / CONFIG).get("peft_type")
    if kind != "LORA":
        raise HarnessError(f"{adapter / CONFIG}: peft_type {kind!r}; only LORA can be merged.")
    shapes = inspect(base).shapes
    for name, header in read_header(adapter / WEIGHTS).items():
        # lora_A is [rank, inputs], lora_B [outputs, rank]; the weight is [outputs, inputs].
        module, _, side = name.removeprefix(PREFIX).removesuffix(".weight").rpartition(".lora_")
        expected = shapes.get(f"{module}.weight")
        axis = int(side == "A")
        if expected is None or header.shape[axis] != expected[axis]:
            raise HarnessError(
                f"{adapter}: {name} {list(header.shape)} does not fit {base}; "
                "use the model that the adapter was trained over."
            )
