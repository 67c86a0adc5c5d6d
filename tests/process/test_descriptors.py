import os
from typing import Any

from twisted.internet import process
from twisted.internet import reactor as global_reactor
from twisted.trial.unittest import TestCase

from appliance.process.descriptors import duplicate_above, trust_close_on_exec
from appliance.process.run import ProcessRunner

reactor: Any = global_reactor


class TrustTests(TestCase):
    def setUp(self) -> None:
        self.patch(process, "_listOpenFDs", process._listOpenFDs)

    async def descriptors_of_a_child(self, **options: Any) -> list[str]:
        seen = bytearray()
        child = ProcessRunner(reactor).start(
            ["/bin/sh", "-c", "exec ls -l /proc/self/fd"], lambda _, data: seen.extend(data), **options
        )
        await child.wait()
        lines = [line.split() for line in seen.decode().splitlines()[1:]]
        return [line[8] for line in lines if "/proc/" not in line[10]]

    async def test_twisted_still_asks_by_this_name(self) -> None:
        asked = []

        def descriptors() -> list[int]:
            asked.append(1)
            return [0, 1, 2]

        self.patch(process, "_listOpenFDs", descriptors)
        await self.descriptors_of_a_child()
        self.assertEqual(asked, [1], "Twisted starts processes in another way now: read descriptors.py again")

    async def test_inherited_descriptors_stay_here(self) -> None:
        stranger = os.open("/etc/hostname", os.O_RDONLY)
        self.addCleanup(os.close, stranger)
        os.set_inheritable(stranger, True)
        trust_close_on_exec()
        self.assertFalse(os.get_inheritable(stranger))
        later = os.open("/etc/hostname", os.O_RDONLY)
        self.addCleanup(os.close, later)
        self.assertEqual(await self.descriptors_of_a_child(), ["0", "1", "2"])

    async def test_handing_one_down(self) -> None:
        trust_close_on_exec()
        for number in (3, 64, 70):
            ours = os.open("/etc/hostname", os.O_RDONLY)
            self.assertEqual(await self.descriptors_of_a_child(inherit={number: ours}), ["0", "1", "2", str(number)])
            os.close(ours)

    def test_a_twisted_without_the_name_is_refused(self) -> None:
        self.patch(process, "_listOpenFDs", None)
        with self.assertRaises(RuntimeError):
            trust_close_on_exec()

    def test_standard_descriptors_are_left_alone(self) -> None:
        trust_close_on_exec()
        self.assertEqual([os.get_inheritable(number) for number in (0, 1, 2)], [True] * 3)

    def test_a_copy_is_closed_on_exec(self) -> None:
        copy = duplicate_above(0, 100)
        self.addCleanup(os.close, copy)
        self.assertGreaterEqual(copy, 100)
        self.assertFalse(os.get_inheritable(copy))
