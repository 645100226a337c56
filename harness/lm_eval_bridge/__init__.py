"""lm-eval's tasks, prompts, filters and metrics over our engine sessions; the only package that
imports lm_eval.

Requests are built and tokenized once per tokenizer and scored for every candidate that uses it,
for all tasks in one batch. What a response is worth is decided by the lm-eval task alone.
"""

from melange.harness.lm_eval_bridge.examination import Examination
from melange.harness.lm_eval_bridge.session_lm import SessionLM
from melange.harness.lm_eval_bridge.tokenizers import tokenizer_key

__all__ = ["Examination", "SessionLM", "tokenizer_key"]
