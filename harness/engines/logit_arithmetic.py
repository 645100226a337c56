"""Formulas that combine the logits of several models.

B rows of a batch, V columns of the first model, the base.
"""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn.functional import pad


def proxy_tune_logits(
    base_BV: Tensor, expert_BV: Tensor, antiexpert_BV: Tensor, *, alpha: float = 1.0
) -> Tensor:
    """Shift base logits by what tuning taught a small model.

    Returns base + alpha * (expert - antiexpert), shape [B, V], before softmax.
    Columns that not all three have are padding: see `_common_columns`.

    Source: Liu et al. 2024, https://arxiv.org/abs/2401.08565, eq. 1.
    """
    return sum_logits([base_BV, expert_BV, antiexpert_BV], [1.0, alpha, -alpha])


def sum_logits(logits_BV: Sequence[Tensor], coefficients: Sequence[float | Tensor]) -> Tensor:
    """Sum of coefficient * logits, shape [B, V]; a coefficient is a number or of shape [B, 1]."""
    # One after the other: with prompt log-probabilities B is the prompts' tokens, and V large.
    terms = zip(_common_columns(logits_BV), coefficients, strict=True)
    total = reduce(torch.add, (coefficient * one for one, coefficient in terms))
    return _padded(total, logits_BV[0])


def mean_probabilities(logits_BV: Sequence[Tensor], weights: Sequence[float | Tensor]) -> Tensor:
    """Log of the weighted mean of the models' distributions, shape [B, V].

    Each distribution is over the tokens that all have; a weight is a number or of shape [B, 1].
    """
    terms = (
        one.log_softmax(-1) + torch.as_tensor(weight, device=one.device).log()
        for one, weight in zip(_common_columns(logits_BV), weights, strict=True)
    )
    return _padded(reduce(torch.logaddexp, terms), logits_BV[0])


def _common_columns(logits_BV: Sequence[Tensor]) -> list[Tensor]:
    """What all models have. Models of one tokenizer differ in the padding behind its tokens."""
    common = min(one_BV.shape[-1] for one_BV in logits_BV)
    return [one_BV[..., :common].float() for one_BV in logits_BV]


def _padded(logits: Tensor, base_BV: Tensor) -> Tensor:
    """As many columns as the base has; no token lies in those that were not common."""
    missing = base_BV.shape[-1] - logits.shape[-1]
    return pad(logits, (0, missing), value=float("-inf")) if missing else logits


COMBINE = {"logits": sum_logits, "probabilities": mean_probabilities}
