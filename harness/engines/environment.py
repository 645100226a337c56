"""The environment that an in-process engine needs: to be imported before torch and vllm."""

import logging
import os

# In process and without compilation an engine of a small model is ready in 4 s instead of 32 s.
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
# vLLM sets its loggers' level when it starts an engine, and says something as it is imported.
logging.getLogger("vllm").setLevel(os.environ["VLLM_LOGGING_LEVEL"])
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
# Else `datasets` reports to its hub each set that it opens, local ones too: seconds a task where a
# name server does not answer.
os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
if not os.path.exists("/proc/driver/nvidia"):
    # On a CPU the compiled sampler kernels cost 15 s per machine and gain nothing.
    os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")
