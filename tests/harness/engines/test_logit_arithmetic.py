"""Laws of proxy-tuning's arithmetic."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from melange.harness.engines.logit_arithmetic import proxy_tune_logits

numbers = st.floats(-8, 8, width=32)
rows = st.lists(st.lists(numbers, min_size=5, max_size=5), min_size=2, max_size=2).map(torch.tensor)


@given(base_BV=rows, tuned_BV=rows, alpha=numbers)
def test_equal_experts_leave_the_base_unchanged(base_BV, tuned_BV, alpha):
    assert_close(proxy_tune_logits(base_BV, tuned_BV, tuned_BV, alpha=alpha), base_BV)


@given(base_BV=rows, expert_BV=rows)
def test_alpha_one_over_an_equal_antiexpert_is_the_expert(base_BV, expert_BV):
    shifted_BV = proxy_tune_logits(base_BV, expert_BV, base_BV, alpha=1.0)
    assert_close(shifted_BV, expert_BV, atol=1e-5, rtol=1e-5)


@given(base_BV=rows, expert_BV=rows, antiexpert_BV=rows, alpha=numbers)
def test_padding_columns_are_dropped(base_BV, expert_BV, antiexpert_BV, alpha):
    padded = [torch.cat([x, torch.full((2, 3), 9.0)], dim=1) for x in (expert_BV, antiexpert_BV)]
    expected = proxy_tune_logits(base_BV, expert_BV, antiexpert_BV, alpha=alpha)
    assert_close(proxy_tune_logits(base_BV, *padded, alpha=alpha), expected)


@given(base_BV=rows, expert_BV=rows, antiexpert_BV=rows, alpha=numbers)
def test_columns_that_a_member_lacks_are_never_chosen(base_BV, expert_BV, antiexpert_BV, alpha):
    padded_BV = torch.cat([base_BV, torch.full((2, 3), 9.0)], dim=1)
    found_BV = proxy_tune_logits(padded_BV, expert_BV, antiexpert_BV, alpha=alpha)
    expected_BV = proxy_tune_logits(base_BV, expert_BV, antiexpert_BV, alpha=alpha)
    assert_close(found_BV[:, :-3], expected_BV)
    assert (found_BV[:, -3:] == -torch.inf).all()
