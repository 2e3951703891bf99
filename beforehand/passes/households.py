"""Who lives together, worked out anew when customers have come in."""

from beforehand.ingest import IngestReport
from beforehand.wiring import App
from messaging.households import Formed, form
from models.database import writing


def form_households(app: App, report: IngestReport) -> Formed | None:
    """Form the households again where an ingest brought new or changed customers; None: it brought none."""
    customers = report.tables.get("customer")
    if customers is None or not (customers.new or customers.changed):
        return None
    with writing(app.engine) as connection:
        return form(connection)
