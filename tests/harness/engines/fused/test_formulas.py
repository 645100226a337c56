"""Laws of the formulas that combine logits."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from melange.harness.engines.fused.formulas import mask_implausible
from melange.harness.engines.logit_arithmetic import COMBINE

logits = st.lists(st.floats(-20, 20, width=32), min_size=4, max_size=4).map(
    lambda row: torch.tensor([row])
)


@given(base_BV=logits, expert_BV=logits, antiexpert_BV=logits)
def test_alpha_of_zero_is_the_base(
    base_BV: Tensor, expert_BV: Tensor, antiexpert_BV: Tensor
) -> None:
    combined = COMBINE["logits"]([base_BV, expert_BV, antiexpert_BV], [1.0, 0.0, 0.0])
    assert_close(combined, base_BV)


@given(base_BV=logits, tuned_BV=logits, alpha=st.floats(-2, 2, width=32))
def test_equal_experts_leave_the_base_unchanged(
    base_BV: Tensor, tuned_BV: Tensor, alpha: float
) -> None:
    padded_BV = torch.cat([tuned_BV, torch.full((1, 3), 99.0)], dim=-1)
    combined = COMBINE["logits"]([base_BV, tuned_BV, padded_BV], [1.0, alpha, -alpha])
    assert_close(combined, base_BV, atol=1e-4, rtol=0)


@given(one_BV=logits, other_BV=logits, share=st.floats(0.01, 0.99))
def test_a_mean_of_probabilities_is_a_distribution_between_its_members(
    one_BV: Tensor, other_BV: Tensor, share: float
) -> None:
    mixed_BV = COMBINE["probabilities"]([one_BV, other_BV], [share, 1 - share]).exp()
    both = torch.stack([one_BV.softmax(-1), other_BV.softmax(-1)])
    assert_close(mixed_BV.sum(-1), torch.ones(1), atol=1e-5, rtol=0)
    assert (mixed_BV <= both.amax(0) + 1e-5).all()
    assert (mixed_BV >= both.amin(0) - 1e-5).all()


@given(combined_BV=logits, base_BV=logits, plausibility=st.floats(0.01, 1))
def test_the_mask_keeps_the_bases_best_token(
    combined_BV: Tensor, base_BV: Tensor, plausibility: float
) -> None:
    masked_BV = mask_implausible(combined_BV, base_BV, torch.tensor([plausibility]))
    assert masked_BV[0, base_BV.argmax()] == combined_BV[0, base_BV.argmax()]
    kept = masked_BV.isfinite()
    p_BV = base_BV.softmax(-1)
    assert_close(masked_BV[kept], combined_BV[kept])
    assert (p_BV[kept] >= plausibility * p_BV.max() * 0.999).all()
