"""Activations: what torch's allocator hands out while a candidate serves, beyond an engine at rest.

Counted by torch, not read off the process: what a process holds depends on what it served before
and on where malloc keeps what was freed; torch's own count is the same to the byte in each run.
What kernels take beside torch's allocator is not in it, nor is the interpreter's memory.

A replayed CUDA graph works in memory that its capture kept, which is no allocation: on a GPU,
activations are those of the steps that run outside graphs (long prompts), and of sampling. Where a
logits processor runs members of a mix, the keys and values of their prompts are part of them.
"""

from collections.abc import Callable, Sequence
from functools import partial

from melange.harness.contracts import TimedSession
from melange.harness.measure.speed import fresh_requests
from melange.harness.records import Workload
from melange.harness.requests import Generation

OUTPUT_TOKENS = 4
"""Of each request: the peak is in the steps that read prompts, and all steps after the second
allocate the same."""
MEMORY_EVENT = "[memory]"
"""The profiler's name for an allocation or a release."""


def activation_bytes(
    session: TimedSession, device: str, workloads: Sequence[Workload], *, seed: int
) -> int:
    """The highest of all workloads, above what stood before.

    Each is served once before it is counted, so that what the engine sets up at the first request
    and keeps is not an activation.
    """
    peak_of = _peak_on_gpu if device == "cuda" else _peak_on_cpu
    found = [0]
    for workload in workloads:
        requests = [_shortened(one) for one in fresh_requests(session, workload, seed=seed)]
        session.generate(requests)
        session.forget_prefixes()
        found.append(peak_of(partial(session.generate, requests)))
    return max(found)


def _shortened(request: Generation) -> Generation:
    return request._replace(max_tokens=min(request.max_tokens, OUTPUT_TOKENS))


def _peak_on_gpu(work: Callable[[], object]) -> int:
    import torch

    torch.cuda.reset_peak_memory_stats()
    standing = torch.cuda.memory_allocated()
    work()
    return int(torch.cuda.max_memory_allocated()) - standing


def _peak_on_cpu(work: Callable[[], object]) -> int:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=False) as found:
        work()
    assert found.profiler is not None
    events = found.profiler.kineto_results.events()
    changes = [(one.start_ns(), one.nbytes()) for one in events if one.name() == MEMORY_EVENT]
    # By time alone: events of the same nanosecond stay in the order in which they happened.
    return _peak([size for _, size in sorted(changes, key=lambda change: change[0])])


def _peak(sizes: Sequence[int]) -> int:
    """The highest sum of allocations (positive) and releases (negative), 0 at first."""
    total = highest = 0
    for size in sizes:
        total += size
        highest = max(highest, total)
    return highest
