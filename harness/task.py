"""The record of a task."""

from typing import Literal

from pydantic import Field, model_validator

from melange.harness.recipe import Record

OutputType = Literal["generate_until", "multiple_choice", "loglikelihood", "loglikelihood_rolling"]
"""lm-eval's; the last is of whole texts, in windows."""


class Task(Record):
    """A task, and what a report needs to know about it."""

    name: str
    evaluator: str = "lm-eval"
    """Which of harness.evaluators.EVALUATORS evaluates candidates on it."""
    lm_eval: str
    """lm-eval's task name, or the path of the YAML that defines the task, for any evaluator."""
    scale: Literal["pocket", "public"]
    domain: str
    output_type: OutputType | Literal[""] = ""
    """lm-eval's; empty for a task of another evaluator."""
    primary_metric: str
    """A metric of lm-eval's, or a formula of some: see task_metrics.py."""
    unit: str = ""
    """Of the primary metric, as declared. Boards' means are over fractions. Empty in runs of
    earlier versions."""
    filter: str = "none"
    chance: float = 0.0
    part_chances: dict[str, float] = Field(default={})
    """By lm-eval task, where the parts of a task differ in their chance."""
    higher_is_better: bool = True
    num_fewshot: int | None = None
    chat: bool = False
    """Render prompts through the tokenizer's chat template."""
    split: Literal["held_out", "tuning", "shifted"] = "held_out"
    shifted_of: str | None = None
    source: str = ""
    cluster_by: str = ""
    """The column by which examples about the same fact or passage are grouped; may be empty."""
    unsafe_code: bool = False
    """Scoring executes what the model wrote."""

    sums_probabilities: bool = False
    """Its metric needs the choices' probabilities, not only the most likely choice."""

    @property
    def normalized(self) -> bool:
        """Whether the primary metric is 0 at chance."""
        return self.primary_metric.startswith("normalized(")

    @property
    def chance_score(self) -> float:
        """The primary metric of guesses; 0 where that is not known."""
        return 0.0 if self.normalized else self.chance

    @property
    def likelihood(self) -> bool:
        return self.output_type != "generate_until"

    @model_validator(mode="after")
    def says_what_lm_eval_asks(self) -> "Task":
        if self.evaluator == "lm-eval" and not self.output_type:
            raise ValueError("output_type is missing; lm-eval asks by it")
        return self
