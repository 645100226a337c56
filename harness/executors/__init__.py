"""Where jobs run, a file each: a module with `connect` is found by its name.

`local` is this machine. `worker` is the far end of all of them, `jobs` what goes there and back.
"""

from importlib import import_module, util

from melange.harness.contracts import ConnectExecutor
from melange.harness.errors import HarnessError


def executor_named(name: str) -> ConnectExecutor:
    """
    Raises:
        HarnessError: there is none of this name.
    """
    found: ConnectExecutor | None = None
    if name.isidentifier() and util.find_spec(f"{__name__}.{name}"):
        found = getattr(import_module(f"{__name__}.{name}"), "connect", None)
    if found is None:
        raise HarnessError(f"--executor {name}: harness/executors has none of this name; try local")
    return found
