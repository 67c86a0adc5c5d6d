"""A sample as text."""

import msgspec
import pytest

from appliance.client.sample import Sample
from appliance.client.top_screen import amount, bar, line, screen

SAMPLE = msgspec.convert(
    {
        "timestamp": "2027-01-15T08:00:00.000Z",
        "cpu": {"usage_percent": 25.0, "cores": [{"core": number, "usage_percent": 12.5} for number in range(10)]},
        "memory": {
            "total": 8 << 30,
            "used": 2 << 30,
            "used_percent": 25.0,
            "swap_total": 1 << 30,
            "swap_used": 0,
            "swap_used_percent": 0.0,
        },
        "disk": {
            "disks": [
                {
                    "mount_point": "/srv/a-very-long\x1b[31mname/of/a/mount",
                    "total": 1 << 40,
                    "free": 1 << 39,
                    "used_percent": 50.0,
                    "io_stats": {"read_bytes_per_sec": 1536.0, "write_bytes_per_sec": 0.0},
                }
            ]
        },
        "network": {
            "interfaces": [
                {
                    "name": name,
                    "rx_bytes_per_sec": 2048.0,
                    "tx_bytes_per_sec": 10.0,
                    "rx_packets_per_sec": 3.2,
                    "tx_packets_per_sec": 1.0,
                    "rx_errors": 1,
                    "tx_errors": 2,
                }
                for name in ("lo", "eth0")
            ]
        },
        "load": {"load1": 0.5, "load5": 0.25, "load15": 0.125},
    },
    Sample,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1.0K"),
        (1536, "1.5K"),
        (20 << 20, "20M"),
        (999 << 30, "999G"),
        (1 << 50, "1.0P"),
        (5000 << 50, "5000P"),
    ],
)
def test_amounts(number: float, text: str) -> None:
    assert amount(number) == text


def test_bars() -> None:
    assert bar(0).startswith("[" + "·" * 30)
    assert bar(50).startswith("[" + "█" * 15 + "·" * 15)
    assert bar(250).startswith("[" + "█" * 30 + "]")


def test_the_screen_tells_everything_within_its_width() -> None:
    rows = screen(SAMPLE, 80)
    text = "\n".join(rows)
    for expected in ("load 0.50 0.25 0.12", " 25.0%", "2.0G of 8.0G", "0B of 1.0G", "50.0%", "1.5K", "eth0", "2.0K"):
        assert expected in text
    assert sum(row.count("12.5%") for row in rows) == 10
    assert "\x1b" not in text
    assert max(map(len, rows)) <= 80


def test_a_line_leaves_the_loopback_out() -> None:
    text = line(SAMPLE)
    assert text == "2027-01-15T08:00:00.000Z cpu  25.0% mem  25.0% load 0.50 rx 2.0K/s tx 10B/s"
