"""From a run's folder to a report that opens from disk. Imports neither torch nor vllm."""
