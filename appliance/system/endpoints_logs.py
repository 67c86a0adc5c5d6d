"""GET logs: the system's log, filtered, page by page."""

from twisted.internet.interfaces import IReactorTime

from appliance.host.journal.journal import Journal, LogPage
from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.identity.caller import reader
from appliance.system.models_logs import LogQuery


class LogEndpoints:
    """The journal, or syslog's files on machines without one."""

    routes = Routes(prefix="/logs", tag="Logs")

    def __init__(self, clock: IReactorTime, journal: Journal) -> None:
        self._clock = clock
        self._journal = journal

    @routes.get("", reply=LogPage, who=reader, query=LogQuery, statuses=(503,))
    async def query(self, call: Call, query: LogQuery) -> LogPage:
        """Entries of the log, newest first.

        Pages are disjoint and cover all that match. New entries move the others to later pages: whoever pages through
        a log that grows gives the first entry's timestamp as `until` from the second page on, and nothing moves.

        `unit` is the systemd unit without `.service`, else the syslog identifier; given as `service` it finds the entry
        again. Entries that state no priority are shown as `info`, but no `priority` finds them in the journal. Where
        more than a million entries match, or counting them takes longer than some seconds, the newest are counted and
        `total_capped` is true. Messages come whole whatever their length; only where a page of several would exceed
        16 MiB are those beyond 4096 bytes left out, and `message_left_out` says so.
        """
        return await self._journal.page(query.filter(self._clock.seconds()), query.page, query.size())
