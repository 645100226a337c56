"""Prints an engine's scores of a checkpoint as JSON: scored_alone.py FOLDER."""

import json
import random
import sys
from pathlib import Path

from melange.harness.checkpoints.info import inspect
from melange.harness.records import EngineShape
from melange.harness.requests import Request


def main(folder: Path) -> None:
    from melange.harness.engines.session import EngineSession

    info, rng = inspect(folder), random.Random(0)
    requests = [
        Request(
            tuple(rng.randrange(10, 90) for _ in range(length)),
            tuple(rng.randrange(10, 90) for _ in range(3)),
        )
        for length in (5, 40, 110)
    ]
    shape = EngineShape(signature="x", max_model_len=info.context_length, dtype=info.dtype)
    session = EngineSession(folder, shape)
    scores = session.score(requests)
    print(json.dumps([[one, score.logprob] for one, score in zip(requests, scores, strict=True)]))
    sys.stdout.flush()
    session.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
