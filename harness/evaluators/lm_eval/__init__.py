"""lm-eval's tasks, prompts, filters and metrics over our engine sessions; the only package that
imports lm_eval.

Requests are built and tokenized once per tokenizer and scored for every candidate that uses it,
for all tasks in one batch. Responses are scored by the lm-eval task alone.
"""

from melange.harness.evaluators.lm_eval.evaluator import LmEvalEvaluator
from melange.harness.evaluators.lm_eval.session_lm import SessionLM

__all__ = ["LmEvalEvaluator", "SessionLM"]
