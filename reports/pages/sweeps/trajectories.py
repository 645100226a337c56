"""Accuracy along a training run."""

from melange.reports.analysis.sweeps import trajectories
from melange.reports.pages.sweeps.sweeps import Curves

SECTION = Curves(
    order=20,
    title="Along training",
    words="Averages over the checkpoints of one training run, by the last step that they include. "
    "Bars and bands are 95 % intervals.",
    find=trajectories,
)
