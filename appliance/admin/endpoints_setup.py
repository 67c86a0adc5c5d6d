"""Sections 1 and 2 of the reference: setting and changing the API token."""

from twisted.internet.defer import DeferredLock

from appliance.admin.audit import AdminAudit
from appliance.admin.directory import AdminDirectory
from appliance.admin.models import SetupForm, Status
from appliance.admin.scripts import Scripts
from appliance.admin.tokens import TOKEN_CHARACTERS, TokenStore, is_valid_token
from appliance.admin.translate import as_answers
from appliance.files import write_atomic
from appliance.http.call import Call
from appliance.http.endpoints import FormBody, Routes
from appliance.http.errors import bad_request
from appliance.identity.caller import administrator
from appliance.threads import Threads


class SetupEndpoints:
    """The API token itself."""

    routes = Routes(tag="Setup")

    def __init__(
        self, directory: AdminDirectory, tokens: TokenStore, scripts: Scripts, audit: AdminAudit, threads: Threads
    ) -> None:
        self._directory = directory
        self._tokens = tokens
        self._scripts = scripts
        self._audit = audit
        self._threads = threads
        self._changing = DeferredLock()

    @routes.post(
        "/setup",
        reply=Status,
        who=administrator,
        body=FormBody(SetupForm, needs=("newtoken",)),
        audit="setup.post",
        statuses=(400,),
    )
    async def setup(self, call: Call, form: SetupForm) -> None:
        """Set the API token, or change it.

        `newtoken` is 1 to 255 printable ASCII characters (codes 33 to 126). Needs credentials once a token is set.
        """
        token = form.newtoken
        if not token or set(token) - TOKEN_CHARACTERS:
            raise bad_request("Missing or invalid string for option: newtoken. Allowed: ASCII characters 33-126")
        if not is_valid_token(token):
            raise bad_request("Invalid string length for option: newtoken. Allowed: >= 1 and <= 255")
        await self._changing.acquire()
        try:
            if call.caller is not None and call.caller.kind == "setup" and self._tokens.current() is not None:
                raise bad_request("The token has been set meanwhile")
            await self._change(token)
        finally:
            self._changing.release()
        await self._audit.record(call, "token.update.success", "success")

    async def _change(self, token: str) -> None:
        try:
            await self._threads.run(write_atomic, self._directory.uploads / "api.token", token.encode(), mode=0o600)
            with as_answers():
                finished = await self._scripts.run("token")
        finally:
            await self._threads.run(self._directory.clear_uploads, ("api.token",))
        self._tokens.look_again()
        current = self._tokens.current()
        if not finished.succeeded or current is None or not current.token.matches(token):
            raise bad_request("The new token could not be set")
        await self._threads.run(self._tokens.end_first_run)
