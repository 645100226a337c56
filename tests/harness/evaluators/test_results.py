"""Results of evaluators cross processes."""

import pickle

from task_results import result_of


def test_a_result_without_intervals_crosses_processes() -> None:
    result = result_of({"acc": [1.0]}, [""])
    assert pickle.loads(pickle.dumps(result)) == result
