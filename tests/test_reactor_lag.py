"""The reactor's delays, on a clock."""

from twisted.internet.task import Clock

from appliance.reactor_lag import BOUNDS, INTERVAL, ReactorLag


def test_delays_are_counted_by_their_length() -> None:
    clock = Clock()
    lag = ReactorLag(clock)
    lag.start()
    for late in (0.0, 0.0, 0.004, 0.2, 60.0):
        clock.advance(INTERVAL + late)
    assert lag.buckets[0] == 2
    assert lag.buckets[BOUNDS.index(0.005)] == 1
    assert lag.buckets[BOUNDS.index(0.25)] == 1
    assert lag.buckets[-1] == 1
    assert round(lag.total, 3) == 60.204
    lag.stop()
    assert clock.getDelayedCalls() == []
