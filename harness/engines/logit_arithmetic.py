"""Formulas that combine the logits of several models. B rows of a batch, V tokens of the base."""

from collections.abc import Sequence
from functools import reduce

import torch
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
    return sum_logits([base_BV, expert_BV, antiexpert_BV], [1.0, alpha, -alpha])


def sum_logits(logits_BV: Sequence[Tensor], coefficients: Sequence[float | Tensor]) -> Tensor:
    """Sum of coefficient * logits, shape [B, V]; a coefficient is a number or of shape [B, 1].

    The first model's V columns count, the others' further ones are padding.

    Raises:
        HarnessError: another model has fewer columns than the first.
    """
    # One after the other: with prompt log-probabilities B is the prompts' tokens, and V large.
    terms = zip(_same_columns(logits_BV), coefficients, strict=True)
    return reduce(torch.add, (coefficient * one_BV for one_BV, coefficient in terms))


def mean_probabilities(logits_BV: Sequence[Tensor], weights: Sequence[float | Tensor]) -> Tensor:
    """Log of the weighted mean of the models' distributions, shape [B, V].

    Each distribution is over the first model's V tokens; a weight is a number or of shape [B, 1].

    Raises:
        HarnessError: another model has fewer columns than the first.
    """
    terms = (
        one_BV.log_softmax(-1) + torch.as_tensor(weight, device=one_BV.device).log()
        for one_BV, weight in zip(_same_columns(logits_BV), weights, strict=True)
    )
    return reduce(torch.logaddexp, terms)


def _same_columns(logits_BV: Sequence[Tensor]) -> list[Tensor]:
    vocab_size = logits_BV[0].shape[-1]
    narrow = min(one_BV.shape[-1] for one_BV in logits_BV)
    if narrow < vocab_size:
        raise HarnessError(
            f"logit arithmetic: a member has {narrow} tokens, the base {vocab_size}; "
            "use models with the base's tokenizer."
        )
    return [one_BV[..., :vocab_size].float() for one_BV in logits_BV]


COMBINE = {"logits": sum_logits, "probabilities": mean_probabilities}
