"""Which experts tokens choose, as the engine computes them.

A router takes the largest of its gate's logits; so does this, of the same logits. vLLM's own record
of routed experts asks for its second model runner, which a CPU does not have.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from melange.harness.errors import HarnessError
from melange.harness.requests import Route


def routed(llm: Any, num_tokens: int, run: Callable[[], Any]) -> Route:
    """What `run`, which computes one text of `num_tokens`, lets each token choose.

    Raises:
        HarnessError: not every token passed every gate, in Python: a compiled engine calls none.
    """
    heard: dict[str, list[Tensor]] = {}
    handles: list[Any] = []
    num_chosen: list[int] = []

    def listen(model: nn.Module) -> None:
        for name, gate, count in gates(model):
            heard[name] = []
            num_chosen.append(count)
            handles.append(gate.register_forward_hook(_keeper(heard[name])))

    llm.apply_model(listen)
    try:
        run()
    finally:
        for one in handles:
            one.remove()
    counts = {name: sum(map(len, logits)) for name, logits in heard.items()}
    if not counts or set(counts.values()) != {num_tokens}:
        raise HarnessError(
            f"the engine told the choices of {counts or 'no gate'}, of {num_tokens} tokens each; "
            "routing is read from an eager engine"
        )
    logits_LTE = torch.stack([torch.cat(logits) for logits in heard.values()])
    # Of equal logits the first expert's, as kernels take them: a router may be all zero.
    order_LTE = logits_LTE.argsort(dim=-1, descending=True, stable=True)
    return Route(order_LTE[..., : num_chosen[0]].numpy(), logits_LTE.shape[-1])


def gates(model: nn.Module) -> list[tuple[str, nn.Module, int]]:
    """Name, gate and experts a token of each layer that has experts, in the layers' order."""
    found = []
    for name, block in model.named_modules():
        gate, experts = getattr(block, "gate", None), getattr(block, "experts", None)
        if isinstance(gate, nn.Module) and isinstance(experts, nn.Module):
            found.append((name, gate, model.config.num_experts_per_tok))
    return found


def _keeper(kept: list[Tensor]) -> Callable[..., None]:
    def keep(gate: nn.Module, inputs: Any, outputs: Any) -> None:
        kept.append((outputs[0] if isinstance(outputs, tuple) else outputs).float().cpu())

    return keep
