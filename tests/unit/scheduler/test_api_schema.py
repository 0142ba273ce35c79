"""The API against its own OpenAPI document: whatever fits or breaks it is answered as the document says."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import allow_header_conformance, unsupported_method

from tests.support.fleet import Brokers, Network, Replica

KNOWN = "standing"

network = Network()
brokers = Brokers()
here = [("schedules", 0), ("retries", 1)]
replica = Replica(brokers, here, network=network)
other = Replica(brokers, [where for where in brokers.logs if where not in here], port=8001, network=network)

config = schemathesis.Config.from_dict(
    {
        "base-url": "http://127.0.0.1",
        # what is refused by a rule in words (a cron expression, an unknown topic) fits the document as well
        "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", 404, 409, 422]}},
    }
)
schema = schemathesis.openapi.from_asgi("/openapi.json", replica.app, config=config, headers={"Host": "127.0.0.1"})
few = settings(max_examples=10, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))


def check(case):
    """Call and judge; `PUT /schedules/a/fire` is about the id `a/fire`, which no document can say."""
    verb = case.operation.path.startswith("/api/v1/schedules/{schedule_id}/")
    case.call_and_validate(excluded_checks=[unsupported_method, allow_header_conformance] if verb else [])


@schema.parametrize()
@few
def test_whatever_is_asked_is_answered_as_the_document_says(case):
    check(case)


@schema.include(path_regex="schedule_id").parametrize()
@few
def test_so_is_whatever_is_asked_of_a_schedule_that_is_there(case):
    """In a partition of this replica or of the other one, in turn."""
    where = ("schedules", brokers.logs["schedules", 0].read_to % 2)
    brokers.schedule(KNOWN.encode(), where, cron="@every 90s")
    case.path_parameters["schedule_id"] = KNOWN
    check(case)
