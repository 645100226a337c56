"""What the parts promise each other. Implementations live in baselines/, harness/ and reports/."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from melange.harness.records import Candidate, EngineOptions, Record, Reference
from melange.harness.requests import Completion, Generation, Request, Route, Score, Tokens
from melange.harness.roles import Role, Roles

if TYPE_CHECKING:
    from torch import Tensor

    from melange.harness.executors.jobs import Job, Reply, TaskSet
    from melange.harness.prepare import Prepared
    from melange.harness.recipes.weights import Weights
    from melange.harness.samples import TaskResult


class Zoo(Protocol):
    """Checkpoints that play roles (`small_base`, `large_math`, `large_base@1500`, ...).

    Everything but `build` is cheap: no torch, no network, so that planning takes no time.
    """

    @property
    def name(self) -> str: ...

    @property
    def scale(self) -> str:
        """`pocket`, `public` or `shapes`: decides which of a suite's tasks are run."""

    @property
    def roles(self) -> tuple[str, ...]: ...

    def related(self) -> Sequence[Role]:
        """The same roles with what the zoo knows of each: what it is, and of what."""

    @property
    def world_seed(self) -> int | None:
        """Seed of the invented world that the pocket tasks ask about; None for public models."""

    @property
    def reference(self) -> Sequence[Reference]:
        """Figures of papers, to show beside the measured ones."""

    def fingerprint(self, role: str) -> str:
        """Content hash of what the checkpoint is made from; it changes when the weights would."""

    def missing(self, role: str) -> str:
        """Why the role cannot be had here, in one line; empty where it can."""

    def folder(self, role: str) -> Path | None:
        """The role's checkpoint folder; None while it has to be built or fetched."""

    def engine(self, role: str) -> EngineOptions:
        """What the zoo asks of an engine that serves the role."""

    def weights_bytes(self, role: str) -> int | None:
        """Bytes of the role's weights, at most; None where nobody knows before they are there."""

    def wall_seconds(self, roles: Collection[str]) -> float:
        """Estimated seconds until all of the roles are ready; 0 if they are."""

    def build(self, roles: Collection[str]) -> Mapping[str, Path]:
        """Make the roles' folders ready (train, fetch or find them) and return them."""


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
            Lacks: the zoo has no roles so related.
        """


class Combiner(Method, Protocol):
    """A method whose recipe is `Weights`, made from inputs that have to fit each other."""

    def check(self, recipe: "Weights", inputs: Mapping[str, Path]) -> None:
        """What the result could not be made from, by configurations and file headers alone: plans
        ask. `inputs` lacks those that are not there yet.

        Raises:
            HarnessError: the inputs do not fit each other (shape, vocabulary, quantization).
        """


class Builder(Combiner, Protocol):
    """A method whose recipe is `Weights`: it writes a checkpoint folder.

    One whose result is of another architecture than its first input says which, in a class
    attribute `architecture`: plans ask what the result can do.
    """

    def build(self, recipe: "Weights", inputs: Mapping[str, Path], out: Path) -> None:
        """Write the checkpoint (safetensors, config, tokenizer) to the empty folder `out`.

        Raises:
            HarnessError: the inputs do not fit each other (shape, vocabulary, missing tensor).
        """


class StateBuilder(Combiner, Protocol):
    """A method whose result has the shapes of an input: tensors by name."""

    def like(self, recipe: "Weights") -> str | None:
        """The input whose configuration and tokenizer the result has.

        None where this recipe's result may have shapes of its own, and has to be built.
        """

    def tensors(
        self, recipe: "Weights", inputs: Mapping[str, Path]
    ) -> "Iterator[tuple[str, Tensor]]":
        """The result's tensors by their names on disk.

        Raises:
            HarnessError: the inputs do not fit each other.
        """


class Session(Protocol):
    """A running engine with a candidate loaded. It is asked what the candidate's recipe says that
    it can do (`Recipe.abilities_of`), and nothing else."""

    @property
    def max_model_len(self) -> int: ...

    def score(self, requests: Sequence[Request]) -> list[Score]: ...

    def generate(self, generations: Sequence[Generation]) -> list[Completion]: ...

    def reward(self, texts: Sequence[Tokens]) -> list[float]:
        """Of each whole text: what the reward model's head says after its last token."""

    def route(self, texts: Sequence[Tokens]) -> list[Route]:
        """Of every token of each text."""


class Evaluator(Protocol):
    """Tasks of a run with their requests, for every candidate of one tokenizer.

    Made of (tasks, tokenizer folder, *, limit, seed, alive): tasks by name, each with the sources
    that its registry entry gives; `limit` is of examples a task, all if None; `alive` is to be
    called now and then where the engine is not at work.
    """

    def evaluate(self, session: Session, tasks: Sequence[str]) -> Iterator["TaskResult"]:
        """Put the named tasks to the candidate that the session serves."""


class TimedSession(Session, Protocol):
    """One that workloads are put to."""

    @property
    def vocabulary(self) -> int:
        """Number of token ids that the embedding knows."""

    @property
    def kv_pool_bytes(self) -> int | None:
        """What the engine has set aside for keys and values, however few of them it serves; None
        where no process holds the whole candidate."""

    def forget_prefixes(self) -> None:
        """Compute the next prompts in full, whatever was served before."""

    def clock(self) -> float:
        """Seconds by which it is timed."""


class Executor(Protocol):
    """Where jobs run. The runner owns no process; whoever opens an executor closes it.

    A job that breaks, and a worker that dies or hangs at one, answer `Failed`: that costs one
    candidate some cells. An exception ends the run.
    """

    @property
    def num_slots(self) -> int:
        """Jobs that run side by side, by which the time left is told."""

    def submit(self, jobs: "Sequence[Job]") -> "list[Future[Reply]]":
        """Run these side by side with what was submitted before, those of one shape in one engine
        as far as it pays. All at once, since the order is the executor's.

        A future is cancelled while its job waits. Where the callbacks of one are called before its
        worker takes the next job, what they cancel does not start, and what they submit may stay
        with that worker.
        """

    def together(self, members: "Sequence[Prepared]") -> "list[list[Prepared]]":
        """Parts whose engines can be alive at once, to be timed in turn; every member is in one."""

    def alone(self, job: "Job") -> "Reply":
        """Nothing else of this executor runs on that machine meanwhile."""

    def close(self) -> None:
        """End the workers. What waits is cancelled; what runs is ended, and answers `Failed`."""


class OpenExecutor(Protocol):
    def __call__(self, members: "Sequence[Prepared]", tasks: "TaskSet") -> Executor:
        """An executor for jobs of these candidates; one whose jobs are timed gets no tasks."""


class ConnectExecutor(Protocol):
    """`connect` of a module below harness/executors/; nothing else is touched to add one."""

    def __call__(self, log: Path, device: str) -> OpenExecutor:
        """Called once in a run, before checkpoints are made ready: what takes long may begin.

        `log` takes what workers print.

        Raises:
            HarnessError: the environment asks for something that cannot be.
        """
