"""The exception for users' mistakes, and hints for unknown names."""

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Something that the user can fix: shown as one line, exit code 2.

    The message names the thing, its value, the rule and the next step.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> HarnessError:
    """An error for a name that is not in `known`, with the nearest names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names[:12])}"
    return HarnessError(f"{kind} {name!r} is unknown; {hint}")
