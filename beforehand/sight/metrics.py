"""The metrics of a process as Prometheus reads them, and as our reference page tells them."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from beforehand.sight.counting import COUNTS, REGISTRY
from beforehand.sight.gauges import KEPT, Gauges
from beforehand.wiring import App
from messaging.onlookers import look_on

TYPES = {"counter": "_total", "info": "_info"}


class Metrics:
    """The metrics of this process: what it has counted since somebody asked for them, and how things stand."""

    def __init__(self, app: App, kept: float = KEPT) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody asks for
        look_on(COUNTS)
        self._gauges = CollectorRegistry()
        self._gauges.register(Gauges(app, kept))
        ProcessCollector(registry=self._gauges)

    def collect(self) -> Iterable[Metric]:
        """All families."""
        yield from REGISTRY.collect()
        yield from self._gauges.collect()

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """The text for a scraper with this ``Accept`` header, and its content type."""
        encode, kind = choose_encoder(accept)
        return encode(self), kind


def metrics_markdown(families: Iterable[Metric]) -> str:
    """The table of ``docs/reference/metrics.md``."""
    rows = ["| metric | type | labels | what it tells |", "|---|---|---|---|"]
    rows += sorted(_row(one) for one in families if one.name.startswith("beforehand"))
    return "\n".join(rows)


def names_of(families: Iterable[Metric]) -> Iterator[str]:
    """The names under which Prometheus keeps the series of these families."""
    for one in families:
        if one.type == "histogram":
            yield from (f"{one.name}_{end}" for end in ("bucket", "sum", "count"))
        else:
            yield f"{one.name}{TYPES.get(one.type, '')}"


def _row(one: Metric) -> str:
    name = f"{one.name}{TYPES.get(one.type, '')}"
    labels = COUNTS.labels.get(name) or sorted({label for sample in one.samples for label in sample.labels})
    return f"| `{name}` | {one.type} | {', '.join(f'`{label}`' for label in labels) or '-'} | {one.documentation} |"
