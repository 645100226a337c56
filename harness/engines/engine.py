"""vLLM's engine in this process, and the checkpoint that it serves."""

import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from melange.harness.engines.reload import NamedTensors, reload_weights
from melange.harness.engines.stale import spoilt

LOG = logging.getLogger(__name__)


def shut_down(llm: Any) -> None:
    """Shut the engine down explicitly, since that also ends the process's distributed groups.

    vLLM collects garbage twice meanwhile, each time half a second over all imported modules, so
    that is suppressed; the caller collects once.
    """
    with mock.patch.object(gc, "collect"):
        llm.llm_engine.engine_core.shutdown()


class Engine:
    """Reloads weights in place if vLLM can load all of them that way, else restarts the engine."""

    def __init__(self, start: Callable[[Path], Any], checkpoint: Path) -> None:
        self._start = start
        self._reloads = self._whole = True
        self._loaded: Path | None = None
        self.llm: Any = None
        self._renew(checkpoint)

    @property
    def reloads(self) -> bool:
        """False once a reload was incomplete, as others of the same shapes would be too."""
        return self._reloads

    def serve(self, checkpoint: Path) -> None:
        if checkpoint == self._loaded:
            return
        left_out = self._reload(checkpoint)
        if left_out is not None:
            self._replace(checkpoint, left_out)
        self._loaded = checkpoint

    def close(self) -> None:
        if self.llm is None:
            return
        shut_down(self.llm)
        self.llm = None
        gc.collect()
        gc.freeze()  # only imported modules are left

    def _reload(self, weights: Path | NamedTensors) -> list[str] | None:
        """None if the engine has loaded all of them, else the tensors known to be missing."""
        whole, self._whole, self._loaded = self._whole, False, None
        if not (whole and self._reloads):
            return []
        left_out = reload_weights(self.llm, weights)
        self._whole = not left_out
        return left_out or None

    def _replace(self, checkpoint: Path, left_out: list[str]) -> None:
        self.close()
        self._renew(checkpoint)
        # A weight that is NaN in the checkpoint itself looks like a missing one.
        own = {name for names in self.llm.apply_model(spoilt) for name in names}
        if missed := [name for name in left_out if name not in own]:
            self._reloads = False
            LOG.warning(
                "vLLM does not reload %d tensors, %s among them; an engine is started for each "
                "checkpoint",
                len(missed),
                missed[0],
            )

    def _renew(self, checkpoint: Path) -> None:
        self.llm = self._start(checkpoint)
        self._whole = True
        self._loaded = checkpoint
