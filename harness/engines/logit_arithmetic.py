"""Formulas that combine the logits of several models. B rows of a batch, V tokens of the base."""

from torch import Tensor

from harness.errors import HarnessError


def proxy_tune_logits(
    base_BV: Tensor, expert_BV: Tensor, antiexpert_BV: Tensor, *, alpha: float = 1.0
) -> Tensor:
    """Shift base logits by what tuning taught a small model.

    Returns base + alpha * (expert - antiexpert), shape [B, V], before softmax.
    Expert columns past V are padding and are dropped.

    Raises:
        HarnessError: an expert's vocabulary is smaller than the base's.

    Source: Liu et al. 2024, https://arxiv.org/abs/2401.08565, eq. 1.
    """
    vocab_size = base_BV.shape[-1]
    for name, logits_BV in (("expert", expert_BV), ("antiexpert", antiexpert_BV)):
        if logits_BV.shape[-1] < vocab_size:
            raise HarnessError(
                f"proxy: the {name} has {logits_BV.shape[-1]} tokens, the base {vocab_size}; "
                "use small models with the base's tokenizer."
            )
    shift_BV = expert_BV[..., :vocab_size] - antiexpert_BV[..., :vocab_size]
    return base_BV + alpha * shift_BV
