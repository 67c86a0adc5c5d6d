"""Users: who is known here, and making, changing and removing local ones."""

from typing import cast

import msgspec

from appliance.host.users.changes import NewUser, UserChange, Users
from appliance.host.users.listing import User, UserListing
from appliance.http.call import Call
from appliance.http.endpoints import JsonBody, Routes
from appliance.identity.caller import Caller, administrator, reader
from appliance.secret import Secret
from appliance.system.models_users import (
    ChangeQuery,
    DeleteQuery,
    Message,
    PasswordBody,
    UserAnswer,
    UserBody,
    UserChangeBody,
    UserList,
)

_CHANGES = (404, 409, 503)


class UserEndpoints:
    """GET users, POST, PUT, DELETE, reset-password."""

    routes = Routes(prefix="/users", tag="Users")

    def __init__(self, listing: UserListing, users: Users) -> None:
        self._listing = listing
        self._users = users
        self._encode = msgspec.json.Encoder().encode
        self._encoded_of: tuple[User, ...] | None = None
        self._for_administrators = self._for_readers = msgspec.Raw()

    @routes.get("", reply=UserList, who=reader, statuses=(503,))
    async def list_users(self, call: Call) -> msgspec.Raw:
        """Every user that this machine knows.

        Whether an account is locked is shown to administrators only, as by passwd(1).
        """
        users = await self._listing.users()
        if users is not self._encoded_of:
            shown = [msgspec.structs.replace(user, locked=msgspec.UNSET) for user in users]
            self._for_administrators = msgspec.Raw(self._encode(UserList(list(users))))
            self._for_readers = msgspec.Raw(self._encode(UserList(shown)))
            self._encoded_of = users
        return self._for_administrators if administrator.admits(_caller(call)) else self._for_readers

    @routes.post(
        "", reply=UserAnswer, who=administrator, body=JsonBody(UserBody), audit="user.create", statuses=(409, 503)
    )
    async def create_user(self, call: Call, body: UserBody) -> UserAnswer:
        """Make a user with a home directory and a password."""
        call.audit_object = body.username
        call.audit_details = {"groups": body.groups, "shell": body.shell, "home": body.home}
        user, home_existed = await self._users.create(
            NewUser(
                username=body.username,
                password=Secret(body.password),
                groups=body.groups or "",
                shell=body.shell or None,
                home=body.home or None,
            )
        )
        left = f"; the home directory {user.home} existed already and is left as it was" if home_existed else ""
        return UserAnswer(f"User {user.username} created successfully{left}", user)

    @routes.put(
        "/<name>",
        reply=UserAnswer,
        who=administrator,
        body=JsonBody(UserChangeBody),
        query=ChangeQuery,
        audit="user.change",
        statuses=_CHANGES,
    )
    async def change_user(self, call: Call, body: UserChangeBody, query: ChangeQuery, name: str) -> UserAnswer:
        """Change a user's supplementary groups, shell, password or lock: all that is given, or nothing.

        A locked account (`locked`) is closed to its password, keys and tokens alike: its password is disabled and its
        expiry date set to 1970-01-02 (usermod -L -e 1); unlocking removes both, and so any expiry date it had before.
        Locking, and taking away the last administrator group, is refused with 409 for uid 0, for your own account, for
        the last administrator who can log in, and without `system=true` for accounts of the system.
        """
        call.audit_object = name
        call.audit_details = {
            "groups": body.groups,
            "shell": body.shell,
            "locked": body.locked,
            "sets a password": body.password is not None,
        }
        change = UserChange(
            groups=body.groups,
            shell=body.shell,
            password=Secret(body.password) if body.password is not None else None,
            locked=body.locked,
        )
        user = await self._users.change(name, change, caller=_caller(call).name, system=query.system)
        return UserAnswer(f"User {name} changed successfully", user)

    @routes.delete(
        "/<name>", reply=Message, who=administrator, query=DeleteQuery, audit="user.delete", statuses=_CHANGES
    )
    async def delete_user(self, call: Call, query: DeleteQuery, name: str) -> Message:
        """Remove a user; the home directory stays unless `remove_home=true`.

        Refused with 409 for uid 0, for your own account, for the last administrator who can log in, for a user with
        running processes, and without `system=true` for accounts of the system.
        """
        call.audit_object = name
        call.audit_details = {"remove_home": query.remove_home}
        complete = await self._users.delete(
            name, caller=_caller(call).name, system=query.system, with_home=query.remove_home
        )
        left = "" if complete else "; the home directory is not its own and is left"
        return Message(f"User {name} deleted successfully{left}")

    @routes.post(
        "/<name>/reset-password",
        reply=Message,
        who=administrator,
        body=JsonBody(PasswordBody),
        audit="user.password",
        statuses=_CHANGES,
    )
    async def reset_password(self, call: Call, body: PasswordBody, name: str) -> Message:
        """Give a user a new password and end the sessions and tokens of the user.

        An account locked by `locked` stays locked.
        """
        call.audit_object = name
        await self._users.reset_password(name, Secret(body.password))
        return Message(f"Password of {name} reset successfully")


def _caller(call: Call) -> Caller:
    return cast(Caller, call.caller)  # there is one: nothing here is public
