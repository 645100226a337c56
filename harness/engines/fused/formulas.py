"""What contrastive decoding adds to a sum of logits. B rows of a batch, V tokens."""

from torch import Tensor


def mask_implausible(combined_BV: Tensor, base_BV: Tensor, plausibility: Tensor) -> Tensor:
    """Rule out (-inf) what the base finds less than `plausibility` times as likely as its best.

    Source: Li et al. 2023, https://arxiv.org/abs/2210.15097, eq. 2.
    """
    base_BV = base_BV.float()
    threshold_B1 = base_BV.amax(-1, keepdim=True) + plausibility.log()
    return combined_BV.masked_fill(base_BV < threshold_B1, float("-inf"))
