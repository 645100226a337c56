"""The study of what the statistics claim draws from the pocket tasks' own facts."""

import numpy as np

from studies.claims import NUM_EQUAL, equal_candidates, independently, table
from studies.shared_facts import pocket_facts


def test_tasks_share_facts_and_candidates_know_them_in_all() -> None:
    facts = pocket_facts()
    assert (len(facts.names), facts.num_shared) == (16, 12)
    answers = facts.answers(np.random.default_rng(0), np.full(16, 0.5), 3, share=1.0)
    twins = [facts.names.index(name) for name in ("pocket_mc_trade", "pocket_mc_trade_shifted")]
    known = [
        dict(zip(facts.facts[at].tolist(), answers[at].scores_KN[0], strict=True)) for at in twins
    ]
    common = set(known[0]) & set(known[1])
    assert common
    assert all(known[0][fact] == known[1][fact] for fact in common)


def test_lines_count_simulated_runs() -> None:
    facts = pocket_facts()
    lines = [*equal_candidates(facts, 2, 0.8), *independently(facts, 2, 0.8)]
    assert [line.of for line in lines] == [2] * 6
    assert str(NUM_EQUAL) in table(lines)
