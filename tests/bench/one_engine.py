"""Evaluate thirty merges in one engine: `python one_engine.py ROWS LIMIT TASK...`, all in all."""

import sys
from pathlib import Path
from statistics import fmean

from engines import pocket_entries
from merges import BASE, TUNED, merges

from melange.baselines.checkpoints import inspect
from melange.baselines.zoo.catalog import open_zoo
from melange.harness.engine_shapes import shape_of
from melange.harness.jobs import Evaluate, Evaluated, Load, Start, Streamed
from melange.harness.worker import Worker


def main(rows: str, limit: str, *tasks: str) -> None:
    folders = dict(open_zoo("pocket").build((BASE, *TUNED)))
    base = folders[BASE]
    worker = Worker()
    shape = shape_of([inspect(base)], base, "cpu")
    worker.do(Start(shape, base, pocket_entries(Path(rows), *tasks), int(limit), 0))
    for name, recipe in merges().items():
        load = Load(base, streamed=Streamed(name, recipe, folders))
        evaluated = worker.do(Evaluate(load, tasks))
        assert isinstance(evaluated, Evaluated)
        means = [fmean(result.samples.score) for result in evaluated.results]
        print(name, *(f"{mean:.3f}" for mean in means))


if __name__ == "__main__":
    main(*sys.argv[1:])
