"""Several models in one vLLM engine, their logits combined at every token.

`folder` writes and reads candidates and imports neither torch nor vllm; `formulas` needs torch;
`config`, `model` and `plugin` are what vLLM loads.
"""
