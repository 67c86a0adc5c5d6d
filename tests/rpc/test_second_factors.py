"""One-time and recovery codes, with a clock of the test's own and the real database."""

import pyotp
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import Clock

from appliance.rpc.second_factors import (
    AlreadyOn,
    NoSecondFactor,
    SecondFactors,
    TooManyCodes,
    WrongCode,
    picture,
)
from tests.support.database import DatabaseTestCase


class SecondFactorTests(DatabaseTestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        super().setUp()
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.database = await self.opened()
        self.factors = self.restarted()

    def restarted(self) -> SecondFactors:
        factors = SecondFactors(self.clock, self.database, self.directory / "master.key")
        factors.prepare()
        return factors

    def code(self, key: str, steps: int = 0) -> str:
        """The code of now, or of some steps from now."""
        return pyotp.TOTP(key).at(int(self.clock.seconds()) + 30 * steps)

    async def turn_on(self, user: str = "ann") -> str:
        key = (await self.factors.seed(user)).key
        self.assertTrue(await self.factors.verify(user, self.code(key), turns_on=True))
        self.clock.advance(30)
        return key

    async def test_nothing_is_on_before_the_first_code(self) -> None:
        await self.fails(self.factors.verify("ann", "123456", turns_on=True), NoSecondFactor)
        key = (await self.factors.seed("ann")).key
        self.assertFalse(await self.factors.is_on("ann"))
        self.assertEqual((await self.restarted().seed("ann")).key, key)
        await self.fails(self.factors.verify("ann", self.code(key)), NoSecondFactor)
        await self.fails(self.factors.verify("ann", self.code("A" * 32), turns_on=True), WrongCode)
        self.assertTrue(await self.factors.verify("ann", self.code(key), turns_on=True))
        self.assertTrue(await self.restarted().is_on("ann"))
        self.assertFalse(await self.factors.is_on("bob"))
        await self.fails(self.factors.seed("ann"), AlreadyOn)

    async def test_a_code_counts_once_and_a_step_around_now(self) -> None:
        key = await self.turn_on()
        for steps in (-2, 2):
            await self.fails(self.factors.verify("ann", self.code(key, steps)), WrongCode)
        self.assertFalse(await self.factors.verify("ann", self.code(key)))
        for steps in (0, -1):  # used, and older than what was used
            await self.fails(self.factors.verify("ann", self.code(key, steps)), WrongCode)
        self.assertFalse(await self.factors.verify("ann", self.code(key, 1)))
        await self.fails(self.restarted().verify("ann", self.code(key, 1)), WrongCode)

    async def test_a_code_that_comes_many_times_at_once_counts_once(self) -> None:
        key = await self.turn_on()
        tries = [ensureDeferred(self.factors.verify("ann", self.code(key))) for _ in range(4)]
        found = await gatherResults([each.addErrback(lambda failure: failure.type) for each in tries])
        self.assertEqual(sorted(map(str, found)), sorted(map(str, [False, WrongCode, WrongCode, WrongCode])))

    async def test_a_clock_that_was_set_back_locks_nobody_out(self) -> None:
        key = await self.turn_on()
        self.clock.rightNow -= 86400
        self.assertFalse(await self.factors.verify("ann", self.code(key)))
        await self.fails(self.factors.verify("ann", self.code(key)), WrongCode)

    async def test_spaces_do_not_matter_and_other_things_are_no_code(self) -> None:
        key = await self.turn_on()
        code = self.code(key)
        for wrong in ("", "12345", "1234567", "abcdef", "١٢٣٤٥٦", code + "0", "0" * 1000):
            await self.fails(self.factors.verify("bob", wrong), NoSecondFactor)
        self.assertFalse(await self.factors.verify("ann", f" {code[:3]} {code[3:]} "))

    async def test_wrong_codes_cost_time_for_the_user_and_for_nobody_else(self) -> None:
        key = await self.turn_on()
        await self.turn_on("bob")
        for _ in range(5):
            await self.fails(self.factors.verify("ann", "000000"), WrongCode)
        error = await self.fails(self.factors.verify("ann", self.code(key)), TooManyCodes)
        self.assertEqual(error.retry_after, 2)
        await self.fails(self.factors.verify("bob", "000000"), WrongCode)
        self.clock.advance(2)
        self.assertFalse(await self.factors.verify("ann", self.code(key)))
        await self.fails(self.factors.verify("ann", "000000"), WrongCode)

    async def test_many_wrong_codes_at_once_count_each(self) -> None:
        await self.turn_on()
        tries = [ensureDeferred(self.factors.verify("ann", f"{number:06}")) for number in range(20)]
        found = await gatherResults([each.addErrback(lambda failure: failure.type) for each in tries])
        self.assertEqual((found.count(WrongCode), found.count(TooManyCodes)), (5, 15))

    async def test_recovery_codes(self) -> None:
        self.assertEqual(await self.factors.show_recovery_codes("ann"), [])
        await self.turn_on()
        codes = await self.factors.show_recovery_codes("ann")
        self.assertEqual(len(set(codes)), 10)
        self.assertEqual(await self.restarted().show_recovery_codes("ann"), [])
        self.assertFalse(await self.factors.verify("ann", codes[0]))
        await self.fails(self.factors.verify("ann", codes[0]), WrongCode)
        await self.turn_on("bob")
        await self.fails(self.factors.verify("bob", codes[1]), WrongCode)
        await self.factors.turn_off("ann")
        await self.turn_on()
        await self.fails(self.factors.verify("ann", codes[2]), WrongCode)
        self.assertEqual(len(await self.factors.show_recovery_codes("ann")), 10)

    async def test_turning_off(self) -> None:
        await self.fails(self.factors.turn_off("ann"), NoSecondFactor)
        old = (await self.factors.seed("ann")).key
        await self.fails(self.factors.turn_off("ann"), NoSecondFactor)
        self.assertEqual((await self.factors.seed("ann")).key, old)
        await self.turn_on()
        await self.factors.turn_off("ann")
        self.assertFalse(await self.factors.is_on("ann"))
        self.assertNotEqual((await self.factors.seed("ann")).key, old)

    async def test_a_lost_master_key(self) -> None:
        key = await self.turn_on()
        codes = await self.factors.show_recovery_codes("ann")
        await self.factors.seed("bob")
        (self.directory / "master.key").unlink()
        factors = self.restarted()
        await self.fails(factors.verify("ann", self.code(key)), WrongCode)
        self.assertFalse(await factors.verify("ann", codes[0]))
        seed = await factors.seed("bob")  # anew, for it was not on yet
        self.assertTrue(await factors.verify("bob", self.code(seed.key), turns_on=True))

    async def test_what_a_phone_is_told(self) -> None:
        seed = await self.factors.seed("ann@home")
        self.assertTrue(seed.url.startswith("otpauth://totp/"))
        found = pyotp.parse_uri(seed.url)
        self.assertEqual((found.name, found.secret), ("ann@home", seed.key))
        self.assertTrue(picture(seed.url).startswith(b"<?xml"))
