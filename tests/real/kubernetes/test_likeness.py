"""The double answers as a real API server does; both are asked the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubernetes.cluster import Cluster
from tests.support.kubernetes.likeness import play
from tests.support.kubernetes.scenarios import SCENARIOS, describe

ANSWERS: dict[str, list[Any]] = json.loads((Path(__file__).parent / "answers.json").read_text())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_answer_is_that_of_the_real_server(cluster: Cluster, scenario: str) -> None:
    """`answers.json` has what kube-apiserver 1.20.2 answered; the whole of each answer counts."""
    answers = list(play(cluster, SCENARIOS[scenario]))
    assert len(answers) == len(ANSWERS[scenario])
    for (step, answer), recorded in zip(answers, ANSWERS[scenario], strict=True):
        assert answer == recorded, describe(step)
