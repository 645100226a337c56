"""A page is a module or a package here with `PAGE`, which lists its sections in order.

Pages are discovered, so nothing else is edited. A section returns data for its template.
"""

import importlib
import pkgutil
from functools import cache

from melange.reports.page import Page


@cache
def discover() -> tuple[Page, ...]:
    """All pages, in order."""
    modules = [
        importlib.import_module(f"{__name__}.{info.name}")
        for info in pkgutil.iter_modules(__path__)
    ]
    found: list[Page] = [module.PAGE for module in modules if hasattr(module, "PAGE")]
    return tuple(sorted(found, key=lambda page: (page.order, page.name)))


def pages_of(kind: str) -> list[Page]:
    return [page for page in discover() if page.of == kind]
