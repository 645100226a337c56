"""Racing: candidates that cannot be among the best any more are asked no further examples.

Why this test and not another: docs/decisions/racing.md.
"""
