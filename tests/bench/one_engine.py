"""Evaluates thirty merges in one engine: `python one_engine.py ROWS LIMIT TASK...`."""

import sys
from pathlib import Path
from statistics import fmean
from tempfile import mkdtemp

from engines import pocket_entries
from merges import BASE, TUNED, merges

from melange.baselines.catalog import methods
from melange.baselines.zoo.catalog import open_zoo
from melange.harness.checkpoints.info import inspect
from melange.harness.checkpoints.source import Checkpoints
from melange.harness.engine_shapes import shape_of
from melange.harness.executors.jobs import Evaluate, Evaluated, TaskSet
from melange.harness.executors.worker import Worker
from melange.harness.loads import Load, Making


def main(rows: str, limit: str, *tasks: str) -> None:
    checkpoints = Checkpoints(open_zoo("pocket"), methods(), Path(mkdtemp()))
    checkpoints.make_ready((BASE, *TUNED))
    base = checkpoints.folder(BASE)
    worker = Worker(TaskSet(pocket_entries(Path(rows), *tasks), int(limit), 0))
    shape = shape_of([inspect(base)], base, "cpu")
    for name, recipe in merges().items():
        made = checkpoints.made(name, recipe)
        assert made.build is not None
        load = Load(made.path, making=Making(made.build, base))
        evaluated = worker.do(Evaluate(load, shape, tasks))
        assert isinstance(evaluated, Evaluated)
        means = [fmean(result.samples.score) for result in evaluated.results]
        print(name, *(f"{mean:.3f}" for mean in means))


if __name__ == "__main__":
    main(*sys.argv[1:])
