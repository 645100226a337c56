"""Accuracy along a training run."""

from melange.reports.sections.sweeps import Curves
from melange.reports.series import trajectories

SECTION = Curves(
    order=20,
    title="Along training",
    words="Averages over the checkpoints of one training run, by the last step that they include. "
    "Bars and bands are 95 % intervals.",
    find=trajectories,
)
