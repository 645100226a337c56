"""Proxy-tuning as one engine: against its parts, a logits processor, and the authors' loop.

128 requests, greedy, prompts and outputs of 1 to 96 tokens. Engines get all of them at once; the
loop takes 32 at a time, and its batch lasts as long as its longest output.
"""

import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from engines import open_session, proxy_mix
from ratios import Ratio, interleave, timed, times_faster

from baselines.checkpoints import inspect
from harness.engines.fused.folder import write_folder
from harness.measure.speed import requests_of
from harness.records import LogitMix, Workload
from harness.requests import Generation

BATCH_SIZE = 32
LOAD = Workload(name="mixed", prompt_tokens=96, output_tokens=96, num_requests=128, mixed=True)


def measure(
    roles: Mapping[str, Path], mix: LogitMix, out: Path, *, rounds: int
) -> tuple[dict[str, list[float]], float]:
    """Seconds of each way to serve the load, and the base's share of all parameters."""
    from transformers_loop import ThreeModels

    folders = [roles[member.role] for member in mix.members]
    fused = open_session(write_folder(out / "fused", folders, mix.coefficients).path)
    solos = [open_session(folder) for folder in folders]
    generations = requests_of(LOAD, vocabulary=solos[0].vocabulary, seed=0)
    loop = ThreeModels(folders, batch_size=BATCH_SIZE)
    gc.freeze()  # the engines stay; looking at them again and again is no side's work
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
    return interleave(sides, rounds=rounds), sizes[0] / sum(sizes)


def generate(session: Any, generations: Sequence[Generation]) -> list[tuple[int, ...]]:
    return [completion.token_ids for completion in session.generate(generations)]


def assert_same(ours: Sequence[object], theirs: Sequence[object]) -> None:
    """Random prompts make near ties: a row or two of a hundred may take another turn."""
    assert sum(map(lambda one, other: one == other, ours, theirs)) >= 0.97 * len(ours)


def ratios(seconds: Mapping[str, Sequence[float]], floor: float, suffix: str) -> list[Ratio]:
    """All sides make the same tokens, so that ratios of tokens/s are those of seconds."""
    fused = {"fused": seconds["fused"]}
    solos = [sum(pass_) for pass_ in zip(*(seconds[name] for name in SOLOS), strict=True)]
    tokens = sum(one.max_tokens for one in requests_of(LOAD, vocabulary=1000, seed=0))
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
    for ratio in ratios(*measure(pocket, mix, tmp_path, rounds=7), ""):
        keep(ratio)


@pytest.mark.usefixtures("pocket")  # which skips where several engines do not fit
def test_fused_25m(keep: Callable[[Ratio], None], tmp_path: Path) -> None:
    from random_models import make_trio

    mix = proxy_mix("base", "expert", "antiexpert")
    for ratio in ratios(*measure(make_trio(tmp_path), mix, tmp_path, rounds=5), "_25m"):
        keep(ratio)
