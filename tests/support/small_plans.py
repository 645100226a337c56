"""Plans of a few candidates on three tasks, over checkpoints that are not built."""

from zoo_of_folders import FolderZoo, plan_of

from melange.harness.progress import Progress
from melange.harness.records import Plan, Suite, Task

TASKS = {
    name: Task(
        name=name, lm_eval=name, scale="pocket", domain="quiz", output_type="multiple_choice",
        primary_metric="acc",
    )
    for name in ("quiz_easy", "quiz_hard", "sums")
}  # fmt: skip
SUITE = Suite(
    name="s",
    tasks={"pocket": ("quiz_*", "sums")},
    candidates=(
        {"method": "checkpoint", "roles": "*_base"},
        {
            "method": "proxy",
            "base": "large_base",
            "expert": "small_chat",
            "antiexpert": "small_base",
        },
    ),
)


def unbuilt(*roles: str) -> FolderZoo:
    return FolderZoo(dict.fromkeys(roles))


def small_plan() -> Plan:
    """Two checkpoints and a mix on three tasks, four rounds."""
    suite = SUITE.model_copy(
        update={"rounds": 4, "target_ratio_error": None, "reference": "large_base"}
    )
    return plan_of(suite, unbuilt("small_base", "small_chat", "large_base"), TASKS, limit=100)


def tell(progress: Progress) -> None:
    progress.doing("evaluating", lambda: ["small_base"])
    for name in ("small_base", "large_base"):
        progress.left.tasks.finish(name, 3, 30.0)
        progress.ended(3, f"{name}: 3 tasks in 30.0 s")
