"""Protocols between the parts. Implementations live in baselines/, harness/ and reports/."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from melange.harness.records import Candidate, EngineOptions, Record
from melange.harness.references import Reference
from melange.harness.requests import Completion, Generation, Request, Route, Score, Streamed, Tokens
from melange.harness.roles import Role, Roles

if TYPE_CHECKING:
    from torch import Tensor

    from melange.harness.executors.jobs import Job, Reply, TaskSet
    from melange.harness.prepare import Prepared
    from melange.harness.racing.batches import Share
    from melange.harness.recipes.weights import Weights
    from melange.harness.samples import Sample, TaskResult


class Zoo(Protocol):
    """Checkpoints that play roles (`small_base`, `large_math`, `large_base@1500`, ...).

    Everything but `build` is cheap, without torch or network: plans ask.
    """

    @property
    def name(self) -> str: ...

    @property
    def scale(self) -> str:
        """`pocket`, `public` or `shapes`: selects which of a suite's tasks are run."""

    @property
    def roles(self) -> tuple[str, ...]: ...

    def related(self) -> Sequence[Role]:
        """The same roles with their kinds and relations."""

    @property
    def world_seed(self) -> int | None:
        """Seed of the invented world that the pocket tasks ask about; None for public models."""

    @property
    def reference(self) -> Sequence[Reference]:
        """Papers' figures, shown beside the measured ones."""

    def fingerprint(self, role: str) -> str:
        """Content hash of the checkpoint or of what it is made from; changes with the weights."""

    def missing(self, role: str) -> str:
        """Why the role is not available here, in one line; empty if it is."""

    def folder(self, role: str) -> Path | None:
        """The role's checkpoint folder; None while it has to be built or fetched."""

    def engine(self, role: str) -> EngineOptions:
        """The zoo's options for an engine that serves the role."""

    def weights_bytes(self, role: str) -> int | None:
        """Bytes of the role's weights, at most; None if unknown until they are there."""

    def training_sec(self, role: str) -> float | None:
        """Seconds that training the role took, as recorded, without what it was made from; None if
        nobody recorded them."""

    def wall_seconds(self, roles: Collection[str]) -> float:
        """Estimated seconds until all of the roles are ready; 0 if they are."""

    def build(self, roles: Collection[str]) -> Mapping[str, Path]:
        """Train, fetch or find the roles' checkpoints; return their folders."""


class Method(Protocol):
    """One way of combining checkpoints.

    A module below baselines/ that has an attribute METHOD adds a method; nothing else is touched.
    """

    name: str
    """The key `method:` of a suite's candidate entries."""
    family: str
    source: str
    options: type[Record]
    """The entry's other keys, validated."""

    def candidates(self, options: Any, roles: Roles) -> Iterable[Candidate]:
        """The candidates that one entry of a suite asks for, on a zoo with these roles.

        Raises:
            Lacks: the zoo has no roles with the relations that it needs.
        """


class Combiner(Method, Protocol):
    """A method whose recipe is `Weights`, and whose inputs have to fit each other."""

    def check(self, recipe: "Weights", inputs: Mapping[str, Path]) -> None:
        """Check the inputs by their configs and file headers; plans ask, so it must be cheap.
        Inputs that do not exist yet are not in `inputs`.

        Raises:
            HarnessError: the inputs do not fit each other (shape, vocabulary, quantization).
        """


class Builder(Combiner, Protocol):
    """A method whose recipe is `Weights`: it writes a checkpoint folder.

    If the result's architecture is not that of the first input, a class attribute `architecture`
    names it: plans derive from it what the result can do.
    """

    def build(self, recipe: "Weights", inputs: Mapping[str, Path], out: Path) -> None:
        """Write the checkpoint (safetensors, config, tokenizer) to the empty folder `out`.

        Raises:
            HarnessError: the inputs do not fit each other (shape, vocabulary, missing tensor).
        """


class StateBuilder(Combiner, Protocol):
    """A method that yields tensors of the same names and shapes as an input's."""

    def like(self, recipe: "Weights") -> str | None:
        """The input whose config and tokenizer the result has.

        None if this recipe's result may have other shapes, and has to be built as a folder.
        """

    def tensors(
        self, recipe: "Weights", inputs: Mapping[str, Path]
    ) -> "Iterator[tuple[str, Tensor]]":
        """The result's tensors by their names on disk.

        Raises:
            HarnessError: the inputs do not fit each other.
        """


class Session(Protocol):
    """A running engine with a candidate loaded. Only what the recipe's `abilities_of` lists may be
    called."""

    @property
    def max_model_len(self) -> int: ...

    def score(self, requests: Sequence[Request]) -> list[Score]: ...

    def generate(self, generations: Sequence[Generation]) -> list[Completion]: ...

    def reward(self, texts: Sequence[Tokens]) -> list[float]:
        """For each text, the output of the reward model's head at its last token."""

    def route(self, texts: Sequence[Tokens]) -> list[Route]:
        """For each text, the experts that each of its tokens is routed to."""


class Evaluator(Protocol):
    """A run's tasks with their requests, for all candidates with one tokenizer.

    Constructed from (tasks, tokenizer folder, *, limit, seed, alive). `tasks`: by name, each with
    the sources of its registry entry; `limit`: examples per task, all if None; `alive`: to be
    called now and then while the engine is idle.
    """

    def evaluate(self, session: Session, tasks: Sequence[str]) -> Iterator["TaskResult"]:
        """Evaluate the candidate that the session serves on the named tasks."""


class Rescorer(Protocol):
    """A task that scores what a run has kept of a candidate's answers, without an engine.

    Constructed from (task, its sources, *, limit, seed).
    """

    def rescore(self, samples: "Sequence[Sample]") -> "TaskResult":
        """
        Raises:
            HarnessError: the answers are not those to the task as it is now.
        """


class SharingEvaluator(Evaluator, Protocol):
    """One whose kind says `shares`: it can be asked for a share of the examples."""

    def evaluate(
        self, session: Session, tasks: Sequence[str], share: "Share | None" = None
    ) -> Iterator["TaskResult"]:
        """A result's column `example` holds the numbers of the examples that were asked."""


class TimedSession(Session, Protocol):
    """A session that workloads can be timed with."""

    @property
    def vocabulary(self) -> int:
        """Number of token ids that the embedding knows."""

    @property
    def kv_pool_bytes(self) -> int | None:
        """Bytes that the engine has reserved for keys and values; None if no single process holds
        the whole candidate."""

    def forget_prefixes(self) -> None:
        """Compute the next prompts in full, whatever was served before."""

    def clock(self) -> float:
        """Seconds of the clock that workloads are timed by."""


class StreamingSession(TimedSession, Protocol):
    """A session that open loops can be timed with: it takes requests while others run."""

    def serve(self, generations: Sequence[Generation], due_sec: Sequence[float]) -> list[Streamed]:
        """Send each request when it is due, in ascending seconds from now, whether or not the
        earlier ones are answered."""


class Executor(Protocol):
    """Where jobs run. Whoever opens an executor closes it.

    If a job breaks, or its worker dies or hangs, the reply is `Failed`, which costs one candidate
    some cells. An exception ends the run.
    """

    @property
    def num_slots(self) -> int:
        """Number of jobs that run side by side; the time left is estimated from it."""

    def submit(self, jobs: "Sequence[Job]") -> "list[Future[Reply]]":
        """Run these side by side with what was submitted before. The executor chooses the order:
        jobs of one shape should share an engine.

        A future can be cancelled while its job waits. An executor should call a future's callbacks
        before its worker takes the next job: jobs that they cancel then never start, and jobs that
        they submit can stay with that worker.
        """

    def together(self, members: "Sequence[Prepared]") -> "list[list[Prepared]]":
        """Partition the members into parts whose engines can be alive at once."""

    def alone(self, job: "Job") -> "Reply":
        """Run the job while nothing else of this executor runs on its machine."""

    def close(self) -> None:
        """End the workers. Waiting jobs are cancelled, running ones reply `Failed`."""


class OpenExecutor(Protocol):
    def __call__(self, members: "Sequence[Prepared]", tasks: "TaskSet") -> Executor:
        """An executor for these candidates' jobs. For timing it gets no tasks."""


class ConnectExecutor(Protocol):
    """`connect` of a module below harness/executors/; nothing else is touched to add one."""

    def __call__(self, log: Path, device: str) -> OpenExecutor:
        """Called once per run, before checkpoints are made ready, so slow preparations can begin.

        `log`: where workers' output goes.

        Raises:
            HarnessError: an environment variable is invalid.
        """
