"""Records the answers of a real server of version 1.20, for the double to be held to:

`python -m tests.support.kubernetes.recording KUBECONFIG > tests/real/kubernetes/answers.json`
"""

import json
import sys
from pathlib import Path

from tests.support.kubernetes.cluster import Cluster, cleaned, real
from tests.support.kubernetes.likeness import Answer, play
from tests.support.kubernetes.scenarios import SCENARIOS


def record(cluster: Cluster) -> dict[str, list[Answer]]:
    """The answers to all scenarios."""
    return {name: [answer for _, answer in play(cluster, steps)] for name, steps in SCENARIOS.items()}


def written(answers: dict[str, list[Answer]]) -> str:
    """The record as it is kept: an answer a line."""
    scenarios = [
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(each, sort_keys=True) for each in found) + "\n]"
        for name, found in answers.items()
    ]
    return "{\n" + ",\n".join(scenarios) + "\n}\n"


if __name__ == "__main__":
    with cleaned(real(Path(sys.argv[1]))) as the_real:
        sys.stdout.write(written(record(the_real)))
