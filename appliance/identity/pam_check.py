"""
One password checked by PAM; runs in a process of its own, since a module may hang or crash.

Service `appliance` where the administrator made that file, else `login`. Never `su` or `runuser`: asked by root they
accept any password (pam_rootok).
"""

import ctypes
import os
from typing import Any

import pamela  # type: ignore[import-untyped]

from appliance.identity.helper_frames import Outcome, Request

SERVICES = ("appliance", "login")
DIRECTORIES = ("/etc/pam.d", "/usr/lib/pam.d", "/usr/share/pam.d")  # pam.d(5), and where distributions keep theirs
TTY = "appliance"

_PAM_FAIL_DELAY = 10
_PAM_CONV_ERR = 19
_PAM_ABORT = 26
_PAM_SILENT = 0x8000
_PAM_DISALLOW_NULL_AUTHTOK = 0x0001
_FLAGS = _PAM_SILENT | _PAM_DISALLOW_NULL_AUTHTOK

# Numbers of security/_pam_types.h. Those of the second kind tell of the machine and not of the user: a module that
# cannot reach its server (PAM_AUTHINFO_UNAVAIL) must not tell a user of that server from one that does not exist.
_EXPIRED = {12, 13, 16, 27}  # NEW_AUTHTOK_REQD, ACCT_EXPIRED, CRED_EXPIRED, AUTHTOK_EXPIRED
_BROKEN = {1, 2, 3, 4, 5, 26, 28}  # OPEN, SYMBOL, SERVICE, SYSTEM, BUF errors, ABORT, MODULE_UNKNOWN

# pamela declares the value as a string; this item is the address of a function.
_set_item = pamela.LIBPAM["pam_set_item"]
_set_item.argtypes = [pamela.PamHandle, ctypes.c_int, ctypes.c_void_p]
_set_item.restype = ctypes.c_int
_calloc = pamela.LIBC["calloc"]
_calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
_calloc.restype = ctypes.c_void_p


def _no_delay(status: int, microseconds: int, data: int | None) -> None:
    """PAM_FAIL_DELAY, see pam_fail_delay(3): the server lets refusals wait, without a process for each."""


_no_delay_in_c = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)(_no_delay)


def find_service() -> str | None:
    """The service to ask, None where none is configured: PAM would fall back to `other`, which is for denying."""
    for service in SERVICES:
        if any(os.path.exists(os.path.join(directory, service)) for directory in DIRECTORIES):
            return service
    return None


class PamCheck:
    """Asks `service`."""

    def __init__(self, service: str) -> None:
        self.ready = Outcome.READY_PAM
        self.means = service
        self._service = service

    def __call__(self, request: Request) -> tuple[Outcome, str]:
        """Check; return the outcome and the reason for the log. `request` is wiped."""
        conversation = _Conversation(request.password)
        try:
            handle = pamela.pam_start(self._service, request.name, conv_func=conversation.function)
            return _ask(handle, request, conversation)
        except pamela.PAMError as error:
            return Outcome.UNAVAILABLE, f"PAM cannot be asked: {error}"
        finally:
            request.wipe()


def _ask(handle: Any, request: Request, conversation: "_Conversation") -> tuple[Outcome, str]:
    """Authenticate, look whether the account may be used, and end the transaction. Raises `PAMError`."""
    status = _PAM_ABORT
    try:
        if _set_item(handle, _PAM_FAIL_DELAY, ctypes.cast(_no_delay_in_c, ctypes.c_void_p)) != pamela.PAM_SUCCESS:
            raise pamela.PAMError("the delay after a failure cannot be left out")
        handle.set_item(pamela.PAM_TTY, TTY)
        if request.address:
            handle.set_item(pamela.PAM_RHOST, request.address)
        stage, status = "pam_authenticate", pamela.PAM_AUTHENTICATE(handle, _FLAGS)
        if status == pamela.PAM_SUCCESS:
            stage, status = "pam_acct_mgmt", pamela.PAM_ACCT_MGMT(handle, _FLAGS)
        return _judge(handle, stage, status, request.name, conversation.asked)
    finally:
        pamela.PAM_END(handle, status)


def _judge(handle: Any, stage: str, status: int, name: str, asked: bool) -> tuple[Outcome, str]:
    if status == pamela.PAM_SUCCESS:
        if not asked:
            return Outcome.UNASKED, "PAM did not ask for a password"
        if handle.get_item(pamela.PAM_USER) != name:
            return Outcome.REFUSED, "PAM knows the user by another name"
        return Outcome.ACCEPTED, ""
    reason = f"{stage}: {pamela.pam_strerror(handle, status)} ({status})"
    if status in _EXPIRED:
        return Outcome.EXPIRED, reason
    return (Outcome.UNAVAILABLE if status in _BROKEN else Outcome.REFUSED), reason


class _Conversation:
    """Answers the first question that hides its answer with the password; can answer no other (pam_conv(3))."""

    def __init__(self, password: bytearray) -> None:
        self.asked = False
        self._password = password
        self.function = pamela.CONV_FUNC(self._converse)

    def _converse(self, count: int, messages: Any, responses: Any, data: int | None) -> int:
        # libpam frees what is returned here, the answers and their array; after an error it does not look at them.
        styles = [messages[number].contents.msg_style for number in range(count)]
        questions = [style for style in styles if style in (pamela.PAM_PROMPT_ECHO_OFF, pamela.PAM_PROMPT_ECHO_ON)]
        if (self.asked and questions) or questions not in ([], [pamela.PAM_PROMPT_ECHO_OFF]):
            return _PAM_CONV_ERR
        array = _calloc(count, ctypes.sizeof(pamela.PamResponse))
        answers = ctypes.cast(array, ctypes.POINTER(pamela.PamResponse))
        if questions:
            self.asked = True
            answers[styles.index(pamela.PAM_PROMPT_ECHO_OFF)].resp = self._copy()
        responses[0] = answers
        return 0

    def _copy(self) -> Any:
        """The password as a string in C's memory, without one of Python's on the way."""
        length = len(self._password)
        copy = _calloc(length + 1, 1)
        ctypes.memmove(copy, (ctypes.c_char * length).from_buffer(self._password), length)
        return ctypes.cast(copy, ctypes.POINTER(ctypes.c_char))
