"""Engines use vLLM's CPU kernels, which give the same results as torch."""

from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ops() -> object:
    import melange.harness.engines.environment  # noqa: F401 (before vllm)

    pytest.importorskip("vllm")
    from melange.harness.engines.cpu_kernels import PROVIDER, use_cpu_kernels

    options = use_cpu_kernels()
    assert options["ir_op_priority"]["rms_norm"] == [PROVIDER, "native"]
    assert use_cpu_kernels() == options  # registered only once
    from vllm import ir

    return ir.ops


@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("width", [96, 160, 1000])
def test_norms_are_torchs(ops, rows: int, width: int) -> None:
    import torch

    generator = torch.Generator().manual_seed(rows * width)
    x, residual = torch.randn(2, rows, width, generator=generator)
    weight = torch.randn(width, generator=generator)
    fast, plain = (ops.rms_norm.impls[name].impl_fn for name in ("cpu_c", "native"))
    torch.testing.assert_close(fast(x, weight, 1e-6), plain(x, weight, 1e-6))
    added, plain_added = (
        ops.fused_add_rms_norm.impls[name].impl_fn(x.clone(), residual.clone(), weight, 1e-6)
        for name in ("cpu_c", "native")
    )
    torch.testing.assert_close(added, plain_added)


def test_what_the_kernels_cannot_take_is_left_to_torch(ops) -> None:
    import torch

    takes = ops.rms_norm.impls["cpu_c"].supports_args
    takes_added = ops.fused_add_rms_norm.impls["cpu_c"].supports_args
    x, weight = torch.ones(4, 8), torch.ones(8)
    assert takes(x, weight, 1e-6)
    assert takes_added(x, x.clone(), weight, 1e-6)
    assert not takes(x.T, weight, 1e-6)  # as when a head's norm gets a slice of all projections
    assert not takes(x, None, 1e-6)
    assert not takes(x, weight.bfloat16(), 1e-6)
    assert not takes(x, weight, 1e-6, 4)
    assert not takes_added(x, x.T, weight, 1e-6)


def test_an_engine_runs_on_them(zoo_folders: Mapping[str, Path]) -> None:
    from melange.harness.checkpoints.info import inspect
    from melange.harness.engine_shapes import shape_of
    from melange.harness.engines.session import EngineSession

    folder = zoo_folders["small_base"]
    session = EngineSession(folder, shape_of([inspect(folder)], folder, "cpu"))
    from vllm import ir

    model = session._llm.apply_model(lambda model: [type(one).__name__ for one in model.modules()])
    session.close()
    assert ir.ops.rms_norm.get_priority()[0] == "cpu_c"
    assert {name for name in model[0] if "wiGLU" in name or "Silu" in name} == {"SwiGLU"}
