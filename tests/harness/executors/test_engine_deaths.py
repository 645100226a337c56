"""What a processor needs before vLLM computes, and how the death of an engine is reported."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from melange.harness.errors import HarnessError
from melange.harness.executors import last_words
from melange.harness.executors.silence import FLOOR_SEC, SEC_PER_GIB, VARIABLE, silence_limit
from melange.harness.machine import lacks_for
from melange.harness.records import EngineShape
from melange.harness.requests import Request

CPUINFO = Path("/proc/cpuinfo").read_text()


@pytest.mark.slow
def test_an_engines_first_request_may_be_one_token_in_bfloat16(
    zoo_folders: Mapping[str, Path], tmp_path: Path
) -> None:
    """With AMX (Sapphire Rapids and newer), vLLM's attention as the first operation crashed."""
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


def test_silence_is_limited_by_the_weights_or_as_the_user_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert silence_limit(0) == FLOOR_SEC
    assert silence_limit(13 * 2**30) == FLOOR_SEC + 13 * SEC_PER_GIB
    monkeypatch.setenv(VARIABLE, "7.5")
    assert silence_limit(13 * 2**30) == 7.5
    for wrong in ("0", "-1", "nan", "inf", "5 min"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(HarnessError, match="not a number of seconds above 0; correct or unset"):
            silence_limit(0)


def words_of(code: str, tmp_path: Path) -> str:
    """The last words of a process that runs this code, with an earlier one's in the same log."""
    log = tmp_path / "engine.log"
    with log.open("w") as output:
        output.write("Fatal Python error: of an earlier process\n")
        output.flush()
        before = log.stat().st_size
        command = [sys.executable, "-c", code]
        subprocess.run(command, stdout=output, stderr=output, check=False)
    return last_words.of_signal(log, before) or last_words.of_exception(log, before, "Worker-1")


def test_a_process_that_dies_of_a_signal_tells_where(tmp_path: Path) -> None:
    code = "import faulthandler, os; faulthandler.enable(); os.kill(os.getpid(), 4)"
    words = words_of(code, tmp_path)
    assert words == 'Fatal Python error: Illegal instruction, File "<string>", line 1 in <module>'


THREADS = """
import faulthandler, os, threading, time
faulthandler.enable()
def wait(): time.sleep(60)
def stand_still(): os.kill(os.getpid(), 6)
threading.Thread(target=wait, daemon=True).start()
time.sleep(0.1)
stand_still()
"""


def test_of_several_threads_the_one_tells_that_the_signal_came_to(tmp_path: Path) -> None:
    assert words_of(THREADS, tmp_path).endswith("line 5 in stand_still")


def test_an_exception_in_cpp_is_told_with_its_message(tmp_path: Path) -> None:
    code = (
        "import faulthandler, os; faulthandler.enable(); print('  what():  no tiles', flush=True)"
    )
    words = words_of(f"{code}; os.abort()", tmp_path)
    assert words.endswith("line 1 in <module>, what():  no tiles")


UNCAUGHT = """
import multiprocessing, sys
def main(): raise ValueError("1 validation error for ModelConfig\\n  needs 12.5 GiB\\n\\nhas 3")
process = multiprocessing.get_context("fork").Process(target=main, name="Worker-1")
process.start()
process.join()
print("a later line of another process")
"""


def test_an_exception_that_nobody_caught_is_told_whole(tmp_path: Path) -> None:
    words = words_of(UNCAUGHT, tmp_path)
    assert words.startswith("ValueError: 1 validation error for ModelConfig needs 12.5 GiB has 3")


def test_a_process_that_says_nothing_is_told_by_its_signal_alone(tmp_path: Path) -> None:
    assert last_words.of_signal(tmp_path / "none.log", 0) == ""
    assert words_of("print('some library')", tmp_path) == ""


REFUSED = """
import ctypes, struct
from melange.harness.machine import lacks_for
# Let every system call pass but arch_prctl(ARCH_REQ_XCOMP_PERM), which gets EPERM.
program = b"".join(struct.pack("<HBBI", *step) for step in (
    (0x20, 0, 0, 0), (0x15, 0, 3, 158), (0x20, 0, 0, 16), (0x15, 0, 1, 0x1023),
    (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)))
steps = ctypes.create_string_buffer(program)
header = struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(steps))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, header, 0, 0) == 0
print(lacks_for("float32") or lacks_for("bfloat16"))
"""


@pytest.mark.skipif("amx_tile" not in CPUINFO, reason="the processor has no AMX")
def test_bfloat16_is_refused_where_the_kernel_keeps_the_tiles_to_itself() -> None:
    assert lacks_for("bfloat16") == ""
    run = [sys.executable, "-c", REFUSED]
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert "the kernel refuses to this process (Operation not permitted)" in said
