"""Checks a run: plain transformers answers some of its examples too.

Independent of the engines: of their requests, weights in memory and arithmetic. The check and the
run share only lm-eval, which builds the tasks' prompts.
"""
