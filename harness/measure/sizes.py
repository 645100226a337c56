"""What follows from a candidate's checkpoints alone."""

from typing import TYPE_CHECKING

from melange.harness.measure.metric import Metric
from melange.harness.measure.speed import Reading

if TYPE_CHECKING:
    from melange.harness.prepare import Prepared

WEIGHTS = Metric(
    name="weights_bytes", unit="bytes", label="Weights", group="memory", scope="checkpoints",
    summary="once", tolerance=1.0, tracked=True, bound="Weights",
    axis="Accuracy against the weights’ size", meaning="parameters as loaded",
)  # fmt: skip
KV_PER_TOKEN = Metric(
    name="kv_bytes_per_token", unit="bytes", label="KV per token", group="memory",
    scope="checkpoints", summary="once", tolerance=1.0,
    meaning="keys and values of one token, in all models that take part",
)  # fmt: skip
PARAMETERS = Metric(
    name="total_params", unit="parameters", label="Total params", group="size",
    scope="checkpoints", summary="once", tolerance=1.0, meaning="all parameters that are held",
)  # fmt: skip
ACTIVE = Metric(
    name="active_params", unit="parameters", label="Active params", group="size",
    scope="checkpoints", summary="once", headline=True, tolerance=1.0,
    axis="Accuracy against active parameters",
    meaning="parameters that one token passes",
)  # fmt: skip
BUILD_TOLERANCE = 5.0
"""A build is timed once, and reads files: builds of two runs of `jan2024` differed by up to 3.5."""
BUILD = Metric(
    name="build_sec", unit="s", label="Build", group="build", scope="checkpoints", summary="once",
    tracked=True, tolerance=BUILD_TOLERANCE, bound="Build time",
    axis="Accuracy against build cost",
    absent="nothing was built: it is served from checkpoints as they are",
    meaning="making the candidate from its inputs",
)  # fmt: skip
BEYOND = Metric(
    name="beyond_base_sec", unit="s", label="Cost beyond base", group="build", scope="checkpoints",
    summary="once", headline=True, bound="Cost beyond base",
    axis="Accuracy against the cost beyond the base",
    ungated="training times are facts of the zoo, and the build’s own time is judged",
    meaning="training its inputs beyond its base, as the zoo recorded it, and building it",
)  # fmt: skip
SIZES = (WEIGHTS, KV_PER_TOKEN, PARAMETERS, ACTIVE, BUILD, BEYOND)


def sizes(member: "Prepared") -> dict[str, Reading]:
    """By metric. What nobody built has no time for it; nor has a composite, since its parts may be
    others' too. In the cost beyond the base all of them count."""
    from melange.harness.checkpoints.built import build_seconds

    infos = member.infos
    built = None if member.load.seats else build_seconds(member.load.checkpoint)
    return {
        WEIGHTS.name: sum(info.weights_bytes for info in infos),
        KV_PER_TOKEN.name: sum(info.kv_bytes_per_token for info in infos),
        PARAMETERS.name: sum(info.num_parameters for info in infos),
        ACTIVE.name: sum(info.num_active_parameters for info in infos),
        **({BUILD.name: built} if built is not None else {}),
        BEYOND.name: _beyond_base(member),
    }


def _beyond_base(member: "Prepared") -> Reading:
    from melange.harness.checkpoints.built import build_seconds

    if isinstance(member.training_sec, str):
        return member.training_sec
    served = {part.load.checkpoint for part in member.parts}
    folders = served | {info.path for info in member.infos}
    return member.training_sec + sum(build_seconds(one) or 0.0 for one in folders)
