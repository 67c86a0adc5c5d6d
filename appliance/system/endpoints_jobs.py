"""GET jobs/{id}: how long work stands that was answered with 202."""

from appliance.host.job_status import JobStatuses
from appliance.http.call import Call
from appliance.http.endpoints import Routes
from appliance.identity.caller import reader
from appliance.system.models_jobs import JobReply


class JobEndpoints:
    """Long work by its id."""

    routes = Routes(prefix="/jobs", tag="Jobs")

    def __init__(self, statuses: JobStatuses) -> None:
        self._statuses = statuses

    @routes.get("/<id>", reply=JobReply, who=reader, name="get_job")
    async def job(self, call: Call, id: str) -> JobReply:
        """How a job stands: `running`, `success`, `failure` or `interrupted`.

        The last few of each kind are remembered, also over a restart of the server.
        """
        return JobReply(await self._statuses.look_up(id))
