"""Measures false alarms of step detection, and its delay: `python tests/studies/steps.py`.

docs/decisions/step-detection.md has the table.
"""

from collections.abc import Callable, Iterator

import numpy as np

from melange.reports.analysis.trends.steps import find_steps

SERIES = 2000
LENGTHS = (15, 30, 90, 365)
HISTORY = 60
NIGHTS = (2, 3, 5, 7, 14, 30)
SHIFTS = (2, 3, 4, 5, 6)
Noise = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def alike(correlation: float) -> Noise:
    """Noise in which a night correlates with the night before."""

    def noise(draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        found = draw.normal(size=shape)
        for at in range(1, shape[1]):
            fresh = np.sqrt(1 - correlation**2) * found[:, at]
            found[:, at] = correlation * found[:, at - 1] + fresh
        return found

    return noise


def with_outliers(draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    found = draw.normal(size=shape)
    return np.where(draw.random(shape) < 0.05, found + 10, found)


NOISES: dict[str, Noise] = {
    "normal": lambda draw, shape: draw.normal(size=shape),
    "Student's t, 3 degrees": lambda draw, shape: draw.standard_t(3, size=shape),
    "lognormal, σ 0.5": lambda draw, shape: draw.lognormal(0, 0.5, size=shape),
    "one night in twenty off by 10 σ": with_outliers,
    "correlation of neighbours 0.3": alike(0.3),
    "correlation of neighbours 0.5": alike(0.5),
    "correlation of neighbours 0.7": alike(0.7),
    "correlation of neighbours 0.9": alike(0.9),
}


def false_alarms() -> Iterator[str]:
    yield f"| noise | {' | '.join(f'{runs} runs' for runs in LENGTHS)} |"
    yield f"| --- |{' --- |' * len(LENGTHS)}"
    for name, noise in NOISES.items():
        draw = np.random.default_rng(0)
        rates = [rate(100 + noise(draw, (SERIES, runs)), bool) for runs in LENGTHS]
        yield f"| {name} | {' | '.join(f'{share:.2%}' for share in rates)} |"


def detections() -> Iterator[str]:
    yield f"| change | {' | '.join(f'{nights} nights' for nights in NIGHTS)} |"
    yield f"| --- |{' --- |' * len(NIGHTS)}"
    for shift in SHIFTS:
        draw = np.random.default_rng(shift)
        rates = []
        for nights in NIGHTS:
            values_LN = draw.normal(100, 1, (SERIES, HISTORY + nights))
            values_LN[:, HISTORY:] += shift
            rates.append(rate(values_LN, lambda ats: any(abs(at - HISTORY) <= 1 for at in ats)))
        yield f"| {shift} σ | {' | '.join(f'{share:.0%}' for share in rates)} |"


def rate(values_LN: np.ndarray, seen: Callable[[list[int]], bool]) -> float:
    found = find_steps(values_LN, np.full_like(values_LN, np.nan))
    return float(np.mean([seen([step.at for step in steps]) for steps in found]))


if __name__ == "__main__":
    print("Series with a step where there is none:", *false_alarms(), sep="\n")
    print("Steps found at their run or beside it:", *detections(), sep="\n")
