"""All metrics that a process may tell, from an empty house: the reference page, alerts and dashboard are held by it."""

import tempfile
from functools import cache
from pathlib import Path

from prometheus_client.metrics_core import Metric

from beforehand.parts import Parts, PartState
from beforehand.settings import Settings
from beforehand.sight.counting import COUNTS
from beforehand.sight.metrics import Metrics, metrics_markdown
from beforehand.wiring import App, wall_clock
from messaging.onlookers import Leading, PrefectSeen, look_away
from models import Base
from models.database import connect


@cache
def families() -> tuple[Metric, ...]:
    """The families, of a process that runs all parts."""
    with tempfile.TemporaryDirectory() as folder:
        engine = connect(f"sqlite:///{folder}/empty.db")
        Base.metadata.create_all(engine)
        parts = Parts()
        parts.note("web", PartState.WELL)
        metrics = Metrics(App(Settings(_env_file=None, var=Path(folder)), engine, wall_clock, parts=parts))
        COUNTS(Leading(False))
        COUNTS(PrefectSeen(True))
        found = tuple(metrics.collect())
        look_away(COUNTS)
        engine.dispose()
    return found


def markdown() -> str:
    """The table of the reference page."""
    return metrics_markdown(families())
