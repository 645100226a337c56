"""A suite that names what is not there is refused, rather than measured with holes."""

from pathlib import Path

import pytest
from small_plans import small_plan

from melange.commands.study import with_reference
from melange.harness.errors import HarnessError
from melange.harness.roles import Roles
from melange.harness.suite import read_suite

PLAN = small_plan()


def test_a_misspelt_reference_brings_the_nearest_name() -> None:
    wrong = PLAN.suite.model_copy(update={"reference": "large_bose"})
    with pytest.raises(HarnessError, match="reference 'large_bose' is unknown; did you mean large"):
        with_reference(wrong, PLAN.candidates, Roles(()), [])


def test_a_reference_that_this_zoo_lacks_stops_nothing() -> None:
    wrong = PLAN.suite.model_copy(update={"reference": "huge_base"})
    assert with_reference(wrong, PLAN.candidates, Roles(()), ["the zoo lacks roles"]) == wrong


def test_two_workloads_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    load = "{name: 8/8, prompt_tokens: 8, output_tokens: 8, num_requests: 2}"
    path.write_text(f"tasks: {{}}\ncandidates: []\nworkloads: [{load}, {load}]\n")
    with pytest.raises(HarnessError, match="two workloads are called '8/8'"):
        read_suite(path)
