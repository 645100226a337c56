"""Compares proxy-tuning as one engine with its parts, a logits processor, and the authors' loop.

Greedy, prompts and outputs of mixed lengths: each drawn from 1 to 96 tokens, or the proxy-tuning
paper's three workloads (prompt/output 8/512, 512/8, 8/8) in one batch. Engines get all requests at
once; the loop runs batches of 32, each until its longest output ends.
"""

import gc
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from engines import open_session, proxy_mix
from ratios import Ratio, interleave, timed, times_faster

from melange.harness.checkpoints.info import inspect
from melange.harness.engines.fused.folder import write_folder
from melange.harness.measure.speed import requests_of
from melange.harness.recipes.logit_mix import LogitMix
from melange.harness.records import Workload
from melange.harness.requests import Generation

BATCH_SIZE = 32
UNIFORM = [Workload(name="mixed", prompt_tokens=96, output_tokens=96, num_requests=128, mixed=True)]
PAPER = [
    Workload(
        name=f"{prompt}/{output}", prompt_tokens=prompt, output_tokens=output, num_requests=num
    )
    for prompt, output, num in ((8, 512, 11), (512, 8, 11), (8, 8, 10))
]
"""One batch of the loop."""


class Measured(NamedTuple):
    seconds: Mapping[str, Sequence[float]]
    """By way of serving the load, one per round."""
    output_tokens: int
    floor: float
    """The base's share of all parameters."""


def requests(loads: Sequence[Workload], vocabulary: int) -> list[Generation]:
    drawn = [one for load in loads for one in requests_of(load, vocabulary=vocabulary, seed=0)]
    return random.Random(0).sample(drawn, len(drawn))


def measure(
    roles: Mapping[str, Path], mix: LogitMix, loads: Sequence[Workload], out: Path, *, rounds: int
) -> Measured:
    from transformers_loop import ThreeModels

    folders = [roles[member.role] for member in mix.members]
    fused = open_session(write_folder(out / "fused", folders, mix.coefficients).path)
    solos = [open_session(folder) for folder in folders]
    generations = requests(loads, solos[0].vocabulary)
    loop = ThreeModels(folders, batch_size=BATCH_SIZE)
    gc.freeze()  # exempts the engines, which stay, from garbage collections
    assert_same(generate(fused, generations), loop.generate(generations))

    def with_processor() -> None:
        solos[0].load(folders[0], mix, folders)
        solos[0].forget_prefixes()

    def without() -> None:
        solos[0].load(folders[0])
        solos[0].forget_prefixes()

    names = ("base", "expert", "antiexpert")
    sides = {"fused": timed(lambda: generate(fused, generations), fused.forget_prefixes)}
    for name, session in zip(names, solos, strict=True):
        before = without if name == "base" else session.forget_prefixes
        sides[name] = timed(lambda session=session: generate(session, generations), before)
    sides["processor"] = timed(lambda: generate(solos[0], generations), with_processor)
    sides["transformers"] = timed(lambda: loop.generate(generations))
    sizes = [inspect(folder).num_parameters for folder in folders]
    return Measured(
        seconds=interleave(sides, rounds=rounds, warm_up=False),
        output_tokens=sum(generation.max_tokens for generation in generations),
        floor=sizes[0] / sum(sizes),
    )


def generate(session: Any, generations: Sequence[Generation]) -> list[tuple[int, ...]]:
    return [completion.token_ids for completion in session.generate(generations)]


def assert_same(ours: Sequence[object], theirs: Sequence[object]) -> None:
    """Random prompts cause near-ties: one or two rows in a hundred may differ."""
    assert sum(map(lambda one, other: one == other, ours, theirs)) >= 0.97 * len(ours)


def ratios(measured: Measured, suffix: str = "") -> list[Ratio]:
    """All sides generate the same tokens, so ratios of tokens/s follow from the seconds."""
    seconds, tokens, floor = measured
    fused = {"fused": seconds["fused"]}
    solos = [sum(pass_) for pass_ in zip(*(seconds[name] for name in SOLOS), strict=True)]
    speed = tokens * len(seconds["fused"]) / sum(seconds["fused"])
    return [
        times_faster(
            f"fused_vs_sum_of_solos{suffix}", fused | {"base + expert + antiexpert": solos},
            bar=1.0, note=f"fused makes {speed:,.0f} tokens/s",
        ),
        times_faster(
            f"fused_vs_base{suffix}", fused | {"base": seconds["base"]},
            note=f"floor by parameter count {floor:.3g}",
        ),
        times_faster(
            f"fused_vs_transformers{suffix}", fused | {"three models": seconds["transformers"]},
            bar=3.0, note=f"batches of {BATCH_SIZE}",
        ),
        times_faster(
            f"processor_vs_fused{suffix}", {"processor": seconds["processor"]} | fused
        ),
    ]  # fmt: skip


SOLOS = ("base", "expert", "antiexpert")


def test_fused_pocket(
    keep: Callable[[Ratio], None], pocket: Mapping[str, Path], tmp_path: Path
) -> None:
    mix = proxy_mix("large_base", "small_mix", "small_base")
    for ratio in ratios(measure(pocket, mix, UNIFORM, tmp_path, rounds=7)):
        keep(ratio)


@pytest.mark.usefixtures("pocket")  # skips if several engines do not fit
@pytest.mark.parametrize(
    ("base", "loads", "suffix", "rounds"),
    [("5m", PAPER, "_paper", 4), ("25m", UNIFORM, "_25m", 3)],
    ids=["paper", "25m"],
)
def test_fused_random(
    keep: Callable[[Ratio], None],
    tmp_path: Path,
    base: str,
    loads: Sequence[Workload],
    suffix: str,
    rounds: int,
) -> None:
    """Two small models of 3 M parameters beside the base; contexts of up to 1024 tokens."""
    from random_models import make_trio

    mix = proxy_mix("base", "expert", "antiexpert")
    trio = make_trio(tmp_path, base=base)
    for ratio in ratios(measure(trio, mix, loads, tmp_path, rounds=rounds), suffix):
        keep(ratio)
