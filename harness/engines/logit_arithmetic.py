"""Formulas that combine the logits of several models.

Shape letters: B rows of a batch, V vocabulary.
"""

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
    vocabulary = base_BV.shape[-1]
    for name, logits_BV in (("expert", expert_BV), ("antiexpert", antiexpert_BV)):
        if logits_BV.shape[-1] < vocabulary:
            raise HarnessError(
                f"proxy: the {name} has {logits_BV.shape[-1]} tokens, the base {vocabulary}; "
                "all three models must share one vocabulary"
            )
    return base_BV + alpha * (expert_BV[..., :vocabulary] - antiexpert_BV[..., :vocabulary])
