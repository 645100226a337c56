"""Formats numbers for pages: one unit per column, few digits, never "nan"."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

NARROW_SPACE = "\u202f"
MINUS = "\u2212"

LADDERS: dict[str, tuple[tuple[float, str], ...]] = {
    "bytes": ((1, "B"), (2**10, "KiB"), (2**20, "MiB"), (2**30, "GiB"), (2**40, "TiB")),
    "count": ((1, ""), (1e3, "k"), (1e6, "M"), (1e9, "B"), (1e12, "T")),
    "sec": ((1e-6, "µs"), (1e-3, "ms"), (1, "s")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How a column's numbers are written: value / factor, with `label` in the header."""

    label: str
    factor: float = 1.0
    decimals: int | None = None
    """None: three significant digits."""

    def write(self, value: float | None) -> str:
        if value is None:
            return ""
        scaled = value / self.factor
        if self.decimals is None:
            return significant(scaled)
        return _grouped(f"{scaled:,.{self.decimals}f}")

    def write_signed(self, value: float) -> str:
        text = self.write(value)
        return f"+{text}" if value > 0 and _holds_digit(text) else text


PERCENT = Scale(label="%", factor=0.01, decimals=1)
POINTS = Scale(label="points", factor=0.01, decimals=1)
RATIO = Scale(label="×", decimals=2)
UNITS = {
    "request_throughput": "requests/s",
    "request_goodput": "requests/s",
    "attainment": "fraction",
    "joules_per_token": "J/token",
}
FIXED = {"fraction": PERCENT, "ratio": RATIO}


def unit_kind(metric: str, unit: str) -> str:
    """The kind of a metric's unit: "bytes", "count", "sec", "fraction" and so on, else the unit."""
    if metric.startswith("relative_"):
        return "ratio"
    if metric in UNITS:
        return UNITS[metric]
    if "per_sec" in metric:
        return "tokens/s" if "tokens_per_sec" in metric else unit
    if "bytes" in metric or unit in ("bytes", "byte", "B"):
        return "bytes"
    if "_sec" in metric or unit in ("sec", "s", "seconds", "second"):
        return "sec"
    if metric.endswith("_params"):
        return "count"
    return unit


MOST = 1e4
"""Numbers from here on are hard to read, so their column gets a larger unit if there is one."""


def scale_for(kind: str, values: Iterable[float | None]) -> Scale:
    """The unit that fits a column's median, or a larger one in which its largest is readable."""
    if kind in FIXED:
        return FIXED[kind]
    ladder = LADDERS.get(kind)
    if ladder is None:
        return Scale(label=kind)
    sizes = sorted(abs(v) for v in values if v)
    middle, largest = (sizes[len(sizes) // 2], sizes[-1]) if sizes else (1.0, 1.0)
    factor, label = ladder[0]
    for step, name in ladder:
        if middle >= step or largest >= MOST * factor:
            factor, label = step, name
    return Scale(label=label, factor=factor)


def significant(value: float, digits: int = 3) -> str:
    """Fixed notation with `digits` significant digits; whole numbers stay whole."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return "not a number"
    if abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    if decimals and value == int(value):
        text = f"{value:,.0f}"
    return _grouped(text)


def _grouped(text: str) -> str:
    text = text.replace(",", NARROW_SPACE).replace("-", MINUS)
    return text if _holds_digit(text) else text.lstrip(MINUS)


def _holds_digit(text: str) -> bool:
    """Whether any digit is not 0: a number that rounds to zero has no sign."""
    return any(digit in text for digit in "123456789")


def p_value(value: float) -> str:
    """`p 0.03`, or `p < 0.001`."""
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}" if value < 0.1 else f"p {value:.2f}"


def duration(sec: float) -> str:
    """Seconds in readable units: `840 ms`, `12.4 s`, `3 min 20 s`, `2 h 05 min`."""
    if sec < 1:
        return f"{significant(sec * 1000)} ms"
    if sec < 60:
        return f"{significant(sec)} s"
    minutes, rest = divmod(round(sec), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def grouped(count: int) -> str:
    return _grouped(f"{count:,}")


def plural(count: int, noun: str, nouns: str = "") -> str:
    return f"{grouped(count)} {noun if count == 1 else nouns or noun + 's'}"
