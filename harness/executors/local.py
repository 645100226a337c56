"""Runs jobs on this machine, in processes with an engine and a share of the cores each."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from melange.harness.contracts import OpenExecutor
from melange.harness.engine_shapes import engine_bytes
from melange.harness.executors.jobs import Job, Reply, Start, TaskSet
from melange.harness.executors.process import EngineProcess, preload
from melange.harness.executors.queue import Queue, Waiting
from melange.harness.executors.silence import silence_limit
from melange.harness.prepare import Prepared, group_by_shape, num_slots, weights_bytes
from melange.harness.records import EngineShape


def connect(log: Path, device: str) -> OpenExecutor:
    """
    Raises:
        HarnessError: MELANGE_SILENCE_SEC is not a number of seconds.
    """
    silence_limit(0)
    if device == "cpu":
        preload()
    return partial(LocalExecutor, log, device)


class Slot(NamedTuple):
    """A share of the cores."""

    thread: ThreadPoolExecutor
    """A pool of one thread, which runs the slot's jobs in turn."""
    process: EngineProcess
    """Runs submitted jobs. It keeps the tasks' requests when its engine is replaced."""


class LocalExecutor:
    """Submitted jobs run in the slots' processes. A job that runs alone has a process per engine
    shape, without the tasks' requests, so that its memory is the candidate's."""

    def __init__(self, log: Path, device: str, members: Sequence[Prepared], tasks: TaskSet) -> None:
        self.num_slots = num_slots(members, device)
        self._log = log
        groups = group_by_shape(members, None)
        largest = {shape: max(map(weights_bytes, group)) for shape, group in groups.items()}
        self._silence_sec = {shape: silence_limit(bytes_) for shape, bytes_ in largest.items()}
        self._fits_all = device == "cpu" and _fit_all(largest, self.num_slots)
        """Never on a GPU, where one engine claims the memory."""
        self._slots = [
            Slot(ThreadPoolExecutor(1), EngineProcess(log, tasks, self._cores(number)))
            for number in range(self.num_slots)
        ]
        self._homes: dict[EngineShape, tuple[Slot, EngineProcess]] = {}
        """By shape, the process for jobs that run alone."""
        self._queue = Queue[Waiting]()

    def submit(self, jobs: Sequence[Job]) -> list[Future[Reply]]:
        waiting = [Waiting(job, Future()) for job in jobs]
        self._queue.put([one for one in waiting if not isinstance(one.job, Start)])
        for number, slot in enumerate(self._slots):
            slot.thread.submit(self._work, number)
        for one in waiting:
            if isinstance(one.job, Start):
                slot, process = self._home(one.job.shape)
                slot.thread.submit(self._answer, one, process)
        return [one.future for one in waiting]

    def together(self, members: Sequence[Prepared]) -> list[list[Prepared]]:
        if self._fits_all:
            return [list(members)]
        return list(group_by_shape(members, None).values())

    def alone(self, job: Job) -> Reply:
        return self._ask(self._home(job.shape)[1], job)

    def close(self) -> None:
        unfinished = self._queue.close()
        for one in unfinished:
            one.future.cancel()
        for process in self._processes:
            if unfinished or process.is_busy:
                process.interrupt()
        for slot in self._slots:
            slot.thread.shutdown(cancel_futures=True)
        for process in self._processes:
            process.close()

    def _work(self, number: int) -> None:
        """Run jobs from the queue until it has none for this slot."""
        while (one := self._queue.next(number)) is not None:
            self._answer(one, self._slots[number].process)

    def _answer(self, one: Waiting, process: EngineProcess) -> None:
        if one.future.set_running_or_notify_cancel():
            try:
                one.future.set_result(self._ask(process, one.job))
            except BaseException as error:  # our own error: it ends the run
                one.future.set_exception(error)

    def _ask(self, process: EngineProcess, job: Job) -> Reply:
        return process.ask(job, self._silence_sec[job.shape])

    def _home(self, shape: EngineShape) -> tuple[Slot, EngineProcess]:
        """The shape's process and its slot. Shapes are spread over the slots."""
        if shape not in self._homes:
            if not self._fits_all:
                for _, process in self._homes.values():
                    process.close()
                self._homes.clear()
            number = len(self._homes) % self.num_slots
            process = EngineProcess(self._log, cores=self._cores(number))
            self._homes[shape] = (self._slots[number], process)
        return self._homes[shape]

    @property
    def _processes(self) -> Iterator[EngineProcess]:
        yield from (slot.process for slot in self._slots)
        yield from (process for _, process in self._homes.values())

    def _cores(self, number: int) -> tuple[int, ...]:
        cores = sorted(os.sched_getaffinity(0))
        return tuple(cores[number :: self.num_slots])


def _fit_all(weights_bytes: Mapping[EngineShape, int], num_slots: int) -> bool:
    """Whether memory suffices for engines of all shapes, and one more per slot, at once."""
    sizes = [engine_bytes(shape, largest) for shape, largest in weights_bytes.items()]
    return sum(sizes) + num_slots * max(sizes, default=0) < psutil.virtual_memory().total
