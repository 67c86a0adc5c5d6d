import pytest

from appliance.rpc.plugins.progress import LINE_LIMIT, ProgressLines


@pytest.mark.parametrize(
    ("pieces", "seen"),
    [
        ([b'{"progress":5}\n'], [5]),
        ([b'{"progress":', b"5}", b"\n"], [5]),
        ([b'{"progress":5}\n{"progress":6}\n'], [6]),
        ([b'{"progress":5}\nnonsense\n'], [5]),
        ([b'{"progress":5}\n', b'{"progress":6}\n'], [5, 6]),
        ([b'{"progress":49.5}\n', b'{"progress":-3}\n', b'{"progress":1e300}\n'], [50, 0, 100]),
        ([b'{"progress":"5"}\n', b'{"progress":null}\n', b'{"other":5}\n', b"5\n", b"\n", b"\xff\n"], []),
        ([b'{"progress":NaN}\n', b'{"progress":1e999}\n', b'{"progress":true}\n'], []),
        ([b'{"progress":5}'], []),
        ([b"x" * (LINE_LIMIT + 1), b'\n{"progress":7}\n'], [7]),
        ([b'{"a":' * 10_000 + b"\n"], []),
    ],
)
def test_lines(pieces: list[bytes], seen: list[int]) -> None:
    found: list[int] = []
    lines = ProgressLines(found.append)
    for piece in pieces:
        lines.add(piece)
    assert found == seen
