"""`make lint`: no file over 300 lines, no function over 40, no more than five parameters.

limits.txt lists exceptions with their sizes. They may shrink, but not grow; one that is within its
limit is removed from the list.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
EXCEPTIONS = Path(__file__).with_name("limits.txt")
LIMITS = {"file": 300, "function": 40, "parameters": 5}
NOT_COUNTED = ("self", "cls")


class Size(NamedTuple):
    kind: str
    place: str
    size: int


def sizes(root: Path) -> Iterator[Size]:
    """Sizes of everything over its limit."""
    listed = subprocess.check_output(["git", "ls-files", "*.py"], cwd=root, text=True)
    for name in listed.split():
        path = root / name
        if path.is_file() and not path.is_symlink():
            text = path.read_text(encoding="utf-8")
            found = [Size("file", name, text.count("\n")), *of_functions(name, text)]
            yield from (one for one in found if one.size > LIMITS[one.kind])


def of_functions(name: str, text: str) -> Iterator[Size]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            place = f"{name}:{node.name}"
            yield Size("function", place, (node.end_lineno or 0) - node.lineno + 1)
            yield Size("parameters", place, num_parameters(node, is_test=name.startswith("tests/")))


def num_parameters(node: ast.FunctionDef | ast.AsyncFunctionDef, *, is_test: bool) -> int:
    """0 for a test, whose parameters are fixtures that no caller passes."""
    if is_test and node.name.startswith("test_"):
        return 0
    of = node.args
    named = [one.arg for one in (*of.posonlyargs, *of.args, *of.kwonlyargs)]
    return len([one for one in named if one not in NOT_COUNTED])


def complaints(found: list[Size], allowed: dict[tuple[str, str], int]) -> Iterator[str]:
    worst: dict[tuple[str, str], int] = {}
    for one in found:
        key = (one.kind, one.place)
        worst[key] = max(worst.get(key, 0), one.size)
    for (kind, place), size in worst.items():
        limit = allowed.get((kind, place), LIMITS[kind])
        if size > limit:
            yield f"{place}: {kind}: {size}, the limit is {limit}"
        elif size < limit:
            yield f"{place}: {kind}: {size}, limits.txt says {limit}: write the smaller number"
    for kind, place in allowed.keys() - worst.keys():
        yield f"{place}: {kind}: within the limit; take it off limits.txt"


def read_exceptions(path: Path) -> dict[tuple[str, str], int]:
    rows = [line.split() for line in path.read_text().splitlines() if line]
    return {(kind, place): int(size) for kind, place, size in rows}


def main() -> int:
    found = list(complaints(list(sizes(ROOT)), read_exceptions(EXCEPTIONS)))
    print("\n".join(sorted(found)), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
