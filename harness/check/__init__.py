"""A run that checks itself: some examples answered once more, by plain transformers.

Nothing of the engines is used here: not their requests, their weights in memory, their arithmetic.
What this and the run have in common is lm-eval, which makes the prompts of a task.
"""
