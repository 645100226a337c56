"""What follows from a candidate's checkpoints alone."""

from typing import TYPE_CHECKING

from melange.harness.measure.metric import Metric

if TYPE_CHECKING:
    from melange.harness.prepare import Prepared

WEIGHTS = Metric(
    name="weights_bytes", unit="bytes", label="Weights", group="memory", scope="checkpoints",
    summary="once", tolerance=1.0, tracked=True, bound="Weights",
    axis="Accuracy against the weights’ size", meaning="parameters as loaded",
)  # fmt: skip
KV_PER_TOKEN = Metric(
    name="kv_bytes_per_token", unit="bytes", label="KV per token", group="memory",
    scope="checkpoints", summary="once", tolerance=1.0, meaning="key-value cache of one token",
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
    headline=True, tracked=True, tolerance=BUILD_TOLERANCE, bound="Build time",
    axis="Accuracy against build cost",
    absent="nothing was built: it is served from checkpoints as they are",
    meaning="making the candidate from its inputs",
)  # fmt: skip
SIZES = (WEIGHTS, KV_PER_TOKEN, PARAMETERS, ACTIVE, BUILD)


def sizes(member: "Prepared") -> dict[str, float]:
    """By metric. What nobody built has no time for it; nor has a composite, since its parts may be
    others' too."""
    from melange.harness.checkpoints.built import build_seconds

    infos = member.infos
    built = None if member.load.seats else build_seconds(member.load.checkpoint)
    return {
        WEIGHTS.name: sum(info.weights_bytes for info in infos),
        KV_PER_TOKEN.name: sum(info.kv_bytes_per_token for info in infos),
        PARAMETERS.name: sum(info.num_parameters for info in infos),
        ACTIVE.name: sum(info.num_active_parameters for info in infos),
        **({BUILD.name: built} if built is not None else {}),
    }
