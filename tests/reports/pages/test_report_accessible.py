"""axe-core finds no serious fault on any page; families stay distinct for colour-blind readers.

Simulated colour vision: Machado, Oliveira and Fernandes 2009, IEEE TVCG 15, 1291-1298, severity 1.
"""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from chromium import LAID_OUT
from report_run import Shape, write_run

from melange.reports.environment import HERE
from melange.reports.render import render
from melange.reports.styles import MARKERS, NUM_COLOURS, family_styles

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

GRAVE = ("serious", "critical")
KINDS = ("index", "costs", "latency", "memory", "sweeps", "reproduction", "candidates/base",
         "tasks/knowledge", "samples/knowledge")  # fmt: skip
SIGHT = {
    "all colours": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                 [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
TELLABLE = 10.0
"""Least distance in CIELAB; about 2.3 is just noticeable side by side."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    shape = Shape(candidates=14, tasks=4, examples=8)
    return render(write_run(tmp_path_factory.mktemp("axe") / "run", shape)).parent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "scheme"),
    [*((kind, "light") for kind in KINDS), ("index", "dark"), (KINDS[-1], "dark")],
)
def test_axe_finds_no_serious_fault(pages, visit, kind, scheme):
    assert grave_faults(visit(pages / f"{kind}.html", scheme=scheme)) == []


def grave_faults(page) -> list[tuple[str, str]]:
    """Rule and first element of each serious fault, with everything expanded."""
    page.add_style_tag(content=LAID_OUT)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = axe.Axe().run(page).response["violations"]
    return [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in GRAVE]


def test_every_kind_of_page_is_looked_at(pages):
    kinds = {str(path.relative_to(pages).with_suffix("")) for path in pages.glob("*.html")}
    assert kinds <= set(KINDS)
    folders = {path.parent.name for path in pages.glob("*/*.html")}
    assert folders == {kind.split("/")[0] for kind in KINDS if "/" in kind}


def family_colours(scheme: str) -> list[str]:
    """Colours from the stylesheet's `--family-N: light-dark(#light, #dark)`."""
    pairs = re.findall(r"--family-\d: light-dark\((#\w{6}), (#\w{6})\)",
                       (HERE / "assets" / "report.css").read_text())  # fmt: skip
    assert len(pairs) == NUM_COLOURS
    return [pair[scheme == "dark"] for pair in pairs]


def lab(colour: str, sight: str) -> np.ndarray:
    """CIELAB (D65) of a colour as seen; the simulation works in linear RGB."""
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(SIGHT[sight]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722],
                    [0.0193, 0.1192, 0.9505]]) @ seen / np.array([0.9505, 1.0, 1.089])  # fmt: skip
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_family_colours_stay_apart(scheme, sight):
    colours = [lab(colour, sight) for colour in family_colours(scheme)]
    closest = min(np.linalg.norm(a - b) for a, b in combinations(colours, 2))
    assert closest > TELLABLE


def test_no_two_families_share_colour_and_shape():
    families = [f"family {i}" for i in range(NUM_COLOURS * len(MARKERS))]
    styles = list(family_styles(families).values())
    assert len({(style.colour, style.marker) for style in styles}) == len(families)
    assert len({style.marker for style in styles[:NUM_COLOURS]}) == NUM_COLOURS
