"""Fused models under CUDA graphs that share memory, simulated on a CPU."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from fused_answers import Answer, ask, engine
from fused_models import draw_prompts, same_shapes
from graph_pool import COMPILE_IN_PIECES, Pool, run_in_pieces

from melange.harness.engines.fused.folder import write_folder


def answers_in_pieces(folder: Path) -> tuple[list[Answer], list[Answer], int]:
    """Answers with the pool as it is, then with overwritten outputs, and the number of these."""
    prompts = draw_prompts(0, 4, tokens=(20, 40))
    with engine(folder, enable_prefix_caching=False, **COMPILE_IN_PIECES) as llm:
        assert Pool.num_last_pieces == 3
        plain = ask(llm, prompts, 4, score=True)
        Pool.poisons = True
        return plain, ask(llm, prompts, 4, score=True), Pool.num_poisoned


@pytest.mark.slow
def test_a_member_may_write_over_what_another_has_handed_out(tmp_path: Path) -> None:
    members = same_shapes(tmp_path / "members", seed=1)
    folder = write_folder(tmp_path / "fused", members, (1.0, 0.8, -0.8)).path
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=run_in_pieces) as process:
        plain, poisoned, num_poisoned = process.submit(answers_in_pieces, folder).result()
    assert num_poisoned
    assert poisoned == plain
