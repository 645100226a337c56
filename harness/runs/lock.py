"""The lock that tells readers that a run is going on.

It is an flock on the measurements file, which the system releases however its holder ends.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from melange.harness.errors import HarnessError


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """
    Raises:
        HarnessError: another process holds it.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HarnessError(
                f"{path.parent}: another process is measuring into it; wait for it, or pass "
                "another --out"
            ) from None
        except OSError:  # a file system without locks: readers will consider the run stopped
            pass
        yield


def is_locked(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
