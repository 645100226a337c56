"""Releases distributed process groups, which an engine of one process does not need."""


def release_process_groups() -> None:
    """End the groups of an engine that has started and is alone.

    vLLM 0.32 makes thirteen, each with a gloo thread that wakes a hundred times a second, on the
    cores of whatever is timed. A group of one coordinates nothing: what vLLM still asks it (its
    size, its rank) it knows by itself. The layers of a mixture of experts hold on to one of them.
    """
    import torch
    from vllm.distributed import parallel_state

    for reference in parallel_state._groups.values():
        group = reference()
        if group is not None:
            group.destroy()  # destroying it again when the engine ends does nothing
    torch.distributed.destroy_process_group()


def forget_process_groups() -> None:
    """Before an engine starts, or its process ends.

    The next engine would take released groups for its own; files by which processes find each
    other would stay.
    """
    from vllm.distributed.parallel_state import (
        destroy_distributed_environment,
        destroy_model_parallel,
    )

    destroy_model_parallel()
    destroy_distributed_environment()
