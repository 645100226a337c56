"""Arguments that several commands share, and their types."""

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

ENGINE_OPTIONS = {
    "dtype": "float32, bfloat16 or float16",
    "max_model_len": "tokens of context",
    "kv_cache_memory_bytes": "bytes of KV cache",
    "kv_cache_dtype": "auto or fp8, for example",
    "quantization": "vLLM's name of the method",
    "gpu_memory_utilization": "share of a GPU's memory",
}
"""By vLLM's names; suites, zoos and roles may set them under `engine`."""


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def natural(text: str) -> int:
    if not text.isdigit():
        raise ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def add_study(parser: ArgumentParser) -> None:
    """Arguments that say what is measured, how, and in which folder."""
    what = parser.add_argument_group("what")
    what.add_argument("--suite", default="jan2024", metavar="NAME",
                      help="a suite by name, or a YAML file (jan2024)")  # fmt: skip
    what.add_argument("--zoo", default="auto", metavar="NAME",
                      help="a zoo of checkpoints by name, or a YAML file")  # fmt: skip
    what.add_argument("--only", action="append", default=[], metavar="GLOB",
                      help="candidates or families")  # fmt: skip
    what.add_argument("--tasks", action="append", default=[], metavar="GLOB", help="tasks")
    what.add_argument("--limit", type=positive, metavar="N", help="examples per task")
    what.add_argument("--race", type=positive, metavar="TOP",
                      help="stop asking candidates that TOP others are shown to beat")  # fmt: skip
    what.add_argument("--seed", type=natural, metavar="N", help="seed of everything random")
    where = parser.add_argument_group("where")
    where.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (runs/SUITE-ZOO)")
    where.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                       help="where vLLM runs")  # fmt: skip
    engines = parser.add_argument_group("engines, by vLLM's names")
    for option, words in ENGINE_OPTIONS.items():
        engines.add_argument(f"--{option.replace('_', '-')}", metavar="VALUE", help=words)


def add_comparison(parser: ArgumentParser) -> None:
    against = parser.add_argument_group("against another run")
    against.add_argument("--compare", metavar="REF", help="its folder, or `previous`")
    against.add_argument("--fail-on-regression", action="store_true",
                         help="exit 1 if this run is significantly worse, 3 if cells of REF were "
                         "not judged")  # fmt: skip
    against.add_argument("--waive", action="append", default=[], metavar="CANDIDATE:SUBJECT",
                         help="cells that need no verdict: globs of candidate and of task, "
                         "workload, metric, accuracy, speed or memory; may be followed by a glob "
                         "of the reason")  # fmt: skip
