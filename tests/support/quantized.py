"""Writes quantized checkpoints in the layouts of GPTQ, AWQ and compressed-tensors.

Shapes: O outputs, I inputs, G groups of 32 inputs.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

GROUP = 32
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
IN_ORDER = tuple(range(8))
State = dict[str, Tensor]


def quantize(folder: Path, out: Path, kind: str, dtype: str = "bfloat16") -> Path:
    """Writes the checkpoint with its layers' matrices packed; `kind` is a key of KINDS."""
    out.mkdir()
    for file in folder.iterdir():
        if file.name not in ("model.safetensors", "config.json"):
            (out / file.name).write_bytes(file.read_bytes())
    pack, settings = KINDS[kind]
    state: State = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if name.endswith("_proj.weight"):
            module = name.removesuffix(".weight")
            state |= {f"{module}.{part}": packed for part, packed in pack(tensor).items()}
        else:
            state[name] = tensor.to(getattr(torch, dtype))
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()},
        out / "model.safetensors",
        metadata={"format": "pt"},
    )
    config = json.loads((folder / "config.json").read_text())
    config |= {"dtype": dtype, "quantization_config": settings}
    (out / "config.json").write_text(json.dumps(config))
    return out


def int4(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Integers from -8 to 7 [O, I] and their scales [O, G]."""
    groups_OGI = weight_OI.reshape(len(weight_OI), -1, GROUP)
    scale_OG = groups_OGI.abs().amax(dim=-1).clamp(min=1e-6) / 7
    numbers = (groups_OGI / scale_OG[..., None]).round().clamp(-8, 7)
    return numbers.reshape(weight_OI.shape).int(), scale_OG.bfloat16()


def words(numbers: Tensor, order: tuple[int, ...] = IN_ORDER) -> Tensor:
    """Packs eight integers from 0 to 15 along the last dimension per word, the first one lowest."""
    eights = numbers.reshape(*numbers.shape[:-1], -1, 8)[..., list(order)].long()
    packed = (eights << (4 * torch.arange(8))).sum(dim=-1)
    return (packed - (packed >= 2**31).long() * 2**32).int()


def gptq(weight_OI: Tensor) -> State:
    numbers_OI, scale_OG = int4(weight_OI)
    num_groups, outputs = scale_OG.shape[1], len(weight_OI)
    return {
        "qweight": words(numbers_OI + 8).T,
        "scales": scale_OG.T,
        "qzeros": words(torch.full((num_groups, outputs), 7)),  # stored minus one
        "g_idx": torch.arange(weight_OI.shape[1]).div(GROUP, rounding_mode="floor").int(),
    }


def awq(weight_OI: Tensor) -> State:
    numbers_OI, scale_OG = int4(weight_OI)
    zeros = torch.full((scale_OG.shape[1], len(weight_OI)), 8)
    return {
        "qweight": words((numbers_OI + 8).T, AWQ_ORDER),
        "scales": scale_OG.T,
        "qzeros": words(zeros, AWQ_ORDER),
    }


def packed_int4(weight_OI: Tensor) -> State:
    numbers_OI, scale_OG = int4(weight_OI)
    return {
        "weight_packed": words(numbers_OI + 8),
        "weight_scale": scale_OG,
        "weight_shape": torch.tensor(weight_OI.shape),
    }


def int8(weight_OI: Tensor) -> State:
    scale_O1 = weight_OI.abs().amax(dim=1, keepdim=True).clamp(min=1e-6) / 127
    numbers_OI = (weight_OI / scale_O1).round().clamp(-127, 127)
    return {"weight": numbers_OI.to(torch.int8), "weight_scale": scale_O1.bfloat16()}


def float8(weight_OI: Tensor) -> State:
    scale_O1 = weight_OI.abs().amax(dim=1, keepdim=True).clamp(min=1e-6) / 448
    numbers_OI = (weight_OI / scale_O1).to(torch.float8_e4m3fn)
    return {"weight": numbers_OI, "weight_scale": scale_O1.bfloat16()}


def compressed(form: str, weights: dict[str, Any], activations: Any = None) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": weights, "input_activations": activations}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
        "quantization_status": "compressed",
    }


BY_CHANNEL = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
BY_TOKEN = BY_CHANNEL | {"strategy": "token", "dynamic": True}
BY_GROUP = BY_CHANNEL | {"num_bits": 4, "strategy": "group", "group_size": GROUP}
FLOAT8 = {"type": "float"}
KINDS: dict[str, tuple[Callable[[Tensor], State], dict[str, Any]]] = {
    "gptq": (
        gptq,
        {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False, "sym": True},
    ),
    "awq": (
        awq,
        {
            "quant_method": "awq",
            "bits": 4,
            "group_size": GROUP,
            "version": "gemm",
            "zero_point": True,
        },
    ),
    "w4a16": (packed_int4, compressed("pack-quantized", BY_GROUP)),
    "w8a8": (int8, compressed("int-quantized", BY_CHANNEL, BY_TOKEN)),
    "fp8": (float8, compressed("float-quantized", BY_CHANNEL | FLOAT8, BY_TOKEN | FLOAT8)),
}
