"""Imports what every engine on a CPU imports, for processes that are forked from this one.

Nothing here may compute: a fork loses the threads that a computation leaves behind.
"""

from importlib import import_module

for name in (
    "melange.harness.engines.session",  # first: it sets the environment
    "melange.harness.engines.mix_processor",
    "vllm.entrypoints.llm",
    "vllm.model_executor.models.llama",
    "vllm.model_executor.models.mixtral",
    "vllm.v1.worker.cpu_worker",
):
    import_module(name)
