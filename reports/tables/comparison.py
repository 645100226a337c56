"""A comparison as rows, for CSV."""

import pandas as pd

from melange.reports.analysis.comparison.changes import Change
from melange.reports.analysis.comparison.verdict import Comparison


def to_frame(comparison: Comparison) -> pd.DataFrame:
    """One row a change, as it was judged; examples are counted."""
    return pd.DataFrame([_row(one) for one in comparison.changes])


def _row(change: Change) -> dict[str, object]:
    return {
        "kind": str(change.kind),
        "candidate": change.candidate,
        "subject": change.subject,
        "old": change.old.value,
        "new": change.new.value,
        "change": change.value,
        "change_ci_low": change.low,
        "change_ci_high": change.high,
        "p_value": change.p_value,
        "adjusted_p": change.adjusted_p,
        "verdict": str(change.verdict),
        "examples_lost": len(change.lost),
        "examples_won": len(change.won),
        "reason": change.reason,
    }
