"""A page of samples grows linearly with its examples and candidates."""

from pathlib import Path

import numpy as np
from report_run import write_samples

from melange.harness.runs.manifest import Manifest
from melange.reports.analysis.run import Run
from melange.reports.analysis.samples.table import read_task
from melange.reports.pages.samples.packed import packed


def bare_run(folder: Path) -> Run:
    return Run(folder=folder, manifest=Manifest(schema_version=1), measurements=())


def long_rows(examples: int, seed: int) -> list[dict]:
    """The same prompts for every seed, with different responses."""
    letters = np.random.default_rng(0).integers(97, 123, (500, 5), dtype=np.uint8)
    words = np.array([bytes(word).decode() for word in letters])
    draw = np.random.default_rng(seed)
    return [
        {"example": i, "prompt": f"shots\n\nQ {i}: " + " ".join(words[:60]), "target": str(i),
         "response": " ".join(draw.choice(words, 40)), "logprobs": None, "score": float(i % 2)}
        for i in range(examples)
    ]  # fmt: skip


def page_of(folder: Path, candidates: int, examples: int) -> int:
    """Bytes of all pieces on the page of a run of this size."""
    for at in range(candidates):
        write_samples(folder, f"c{at}", "t", long_rows(examples, at))
    names = [f"c{at}" for at in range(candidates)]
    _, pieces = packed(read_task(bare_run(folder), "t", names), {name: name for name in names})
    return sum(len(piece) for kind in pieces.values() for piece in kind)


def test_a_page_grows_as_its_examples_and_candidates_do(tmp_path):
    sizes = {
        shape: page_of(tmp_path / str(shape), *shape) for shape in ((4, 100), (4, 400), (16, 100))
    }
    assert sizes[4, 400] < 4.2 * sizes[4, 100]
    assert sizes[16, 100] < 4.2 * sizes[4, 100]


def test_prompts_that_candidates_share_are_kept_once(tmp_path):
    one, four = (page_of(tmp_path / str(n), n, 200) for n in (1, 4))
    prompts = 200 * len(long_rows(1, 0)[0]["prompt"])
    assert four - one < 3 * one
    assert one > 0
    for at in range(4):
        table = read_task(bare_run(tmp_path / "4"), "t", ["c0", f"c{at}"])
        assert table.answers[f"c{at}"].own_prompts_N is None
    assert table.prompts_N.nbytes < 2 * prompts
