"""`run_all.py` with a model class that fails if a checkpoint says so.

A weight of the last norm selects the fault (RAISES, HANGS); with `"fault": "start"` in config.json
an engine does not start. The process that workers are forked from imports this file, and plants the
fault if the environment says so.
"""

import os
import sys
import time
from typing import Any

VARIABLE = "FAULTY_ENGINES"
RAISES, HANGS = 101, 102
PROBE_TOKENS = 2
"""A session tries new weights on a prompt this short, which passes; longer ones fail."""
MESSAGE = "the planted fault says:\nno row 23 in a table of 23 rows"


def break_engines() -> None:
    from vllm.model_executor.models.llama import LlamaForCausalLM

    forward, init = LlamaForCausalLM.forward, LlamaForCausalLM.__init__

    def faulty_forward(self: Any, input_ids: Any, *arguments: Any, **options: Any) -> Any:
        if len(input_ids) > PROBE_TOKENS:
            break_at(int(self.model.norm.weight[0]))
        return forward(self, input_ids, *arguments, **options)

    def faulty_init(self: Any, *, vllm_config: Any, prefix: str = "", **options: Any) -> None:
        if getattr(vllm_config.model_config.hf_config, "fault", "") == "start":
            raise ValueError(MESSAGE)
        init(self, vllm_config=vllm_config, prefix=prefix, **options)

    LlamaForCausalLM.forward, LlamaForCausalLM.__init__ = faulty_forward, faulty_init


def break_at(mark: int) -> None:
    if mark == RAISES:
        raise IndexError(MESSAGE)
    while mark == HANGS:
        time.sleep(0.1)


if __name__ == "faulty_run" and VARIABLE in os.environ:  # tests import it only for the constants
    break_engines()
if __name__ == "__main__":
    import run_all
    from melange.harness.executors import process

    process.PRELOADED.append("faulty_run")
    sys.exit(run_all.main(sys.argv[1:]))
