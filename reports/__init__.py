"""Renders a run's folder as pages that open from disk. Imports neither torch nor vllm."""
