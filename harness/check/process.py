"""The process that checks. It never holds an engine, so vLLM's patches cannot affect it."""

import faulthandler
import os
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from threading import RLock

from tqdm import tqdm

from melange.harness.check.subject import Setting


def main(connection: Connection, log: Path, setting: Setting) -> None:
    """Check subjects until the connection closes. What libraries print goes to `log`.

    The tasks are read before the first subject arrives, while engines work.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which ends this
    _redirect_output(log)
    faulthandler.enable()
    # The default takes semaphores, of which Python complains at the run's end if this is killed.
    tqdm.set_lock(RLock())
    if setting.cores:
        os.sched_setaffinity(0, setting.cores)
        os.environ["OMP_NUM_THREADS"] = str(len(setting.cores))
    os.environ["HF_HUB_OFFLINE"] = "1"  # what is not available locally was not run either
    from melange.harness.check.examiner import KINDS, Examiner, unchecked

    examiner = Examiner(setting)
    examiner.prepare()
    while (subject := _next(connection)) is not None:
        try:
            connection.send(examiner.check(subject))
        except Exception as error:  # a bug of the check; the others go on
            traceback.print_exc()
            connection.send([unchecked(subject, kind, error) for kind in KINDS])


def _next(connection: Connection):  # type: ignore[no-untyped-def]
    try:
        return connection.recv()
    except EOFError:  # the run has ended
        return None


def _redirect_output(log: Path) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, sys.stdout.fileno())
    os.dup2(handle, sys.stderr.fileno())
