"""What a processor asks of a process before it computes, and what is told of one that dies."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.engine_process import _last_words
from harness.records import EngineShape
from harness.requests import Request


@pytest.mark.slow
def test_an_engines_first_request_may_be_one_token_in_bfloat16(
    zoo_folders: Mapping[str, Path], tmp_path: Path
) -> None:
    """With AMX (Sapphire Rapids and newer), vLLM's attention came first and ended the process."""
    from session_process import SessionProcess

    folder = shutil.copytree(zoo_folders["small_mix"], tmp_path / "bf16")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    shape = EngineShape(signature="bf16", max_model_len=128, dtype="bfloat16")
    process = SessionProcess(folder, shape)
    try:
        (score,) = process.score([Request((1,), (1,))])
    finally:
        process.close()
    assert math.isfinite(score.logprob)


def test_a_process_that_dies_of_a_signal_tells_where(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    code = "import faulthandler, os; faulthandler.enable(); os.kill(os.getpid(), 4)"
    with log.open("w") as output:
        output.write("Fatal Python error: of an earlier process\n")
        output.flush()
        before = log.stat().st_size
        subprocess.run([sys.executable, "-c", code], stderr=output, check=False)
    words = _last_words(log, before)
    assert words == '; Fatal Python error: Illegal instruction, File "<string>", line 1 in <module>'


def test_a_process_that_says_nothing_is_told_by_its_signal_alone(tmp_path: Path) -> None:
    assert _last_words(tmp_path / "none.log", 0) == ""
    (tmp_path / "engine.log").write_text("some library's last line\n")
    assert _last_words(tmp_path / "engine.log", 0) == ""
