"""The scoring plan computes each shared prefix once and gives the same scores."""

import math

from hypothesis import given
from hypothesis import strategies as st

from melange.harness.engines.scoring import (
    NodeResult,
    Nodes,
    Prefix,
    plan_nodes,
    plan_scoring,
    read_scores,
)
from melange.harness.requests import Request, Score, Tokens

VOCABULARY = 5
tokens = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=4).map(tuple)
requests = st.lists(st.builds(Request, tokens, tokens), max_size=20)


def logprob(prefix: Tokens, token: int) -> float:
    """A model with a fixed distribution after every prefix."""
    weights = [1 + hash((prefix, one)) % 97 for one in range(VOCABULARY)]
    return math.log(weights[token] / sum(weights))


def best(prefix: Tokens) -> int:
    return max(range(VOCABULARY), key=lambda token: logprob(prefix, token))


def ask(nodes: Nodes) -> list[NodeResult]:
    return [
        NodeResult(
            {token: logprob(sum(prefix, ()), token) for token in wanted}, best(sum(prefix, ()))
        )
        for prefix, wanted in zip(nodes.prefixes, nodes.wanted, strict=True)
    ]


def score_alone(request: Request) -> Score:
    total, greedy = 0.0, True
    for done, token in enumerate(request.continuation):
        prefix = request.context + request.continuation[:done]
        total += logprob(prefix, token)
        greedy = greedy and best(prefix) == token
    return Score(total, greedy)


@given(requests)
def test_scores_are_those_of_each_request_alone(asked: list[Request]) -> None:
    nodes = plan_nodes(asked)
    assert read_scores(nodes, ask(nodes)) == [score_alone(one) for one in asked]


@given(requests, st.booleans())
def test_a_batch_is_put_together_from_its_distinct_requests(
    asked: list[Request], one_pass: bool
) -> None:
    plan = plan_scoring(asked, one_pass=one_pass)
    found = [*map(score_alone, plan.long), *read_scores(plan.nodes, ask(plan.nodes))]
    assert [found[place] for place in plan.places] == [score_alone(one) for one in asked]
    assert len(found) == len(set(asked))
    assert one_pass or not plan.long


@given(tokens, st.sets(st.integers(0, VOCABULARY - 1), min_size=1))
def test_one_token_choices_of_a_question_are_one_node(context: Tokens, choices: set[int]) -> None:
    nodes = plan_nodes([Request(context, (choice,)) for choice in choices])
    assert nodes.prefixes == [Prefix(context)]
    assert nodes.wanted == [tuple(sorted(choices))]


def test_more_choices_than_a_node_can_tell_make_another_node() -> None:
    asked = [Request((1,), (token,)) for token in [*range(300), 0, 299]]
    nodes = plan_nodes(asked)
    assert nodes.prefixes == [Prefix((1,))] * 3
    assert [len(wanted) for wanted in nodes.wanted] == [128, 128, 45]
    read = [nodes.wanted[place].index(token) for ((place, token),) in nodes.lookups]
    assert len(read) == len(asked)
