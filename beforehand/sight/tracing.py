"""OpenTelemetry traces, where the environment asks for them by its standard variables; else nothing is imported.

Prefect's own tracing is left alone: our spans go through a provider of ours, which is nobody's global one.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Lock, local
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from beforehand.sight.spans import OCCASION, Ids, Span, of_receipts, of_tries
from beforehand.wiring import App
from messaging.onlookers import News, Received, Tried, look_away, look_on
from models.database import reading

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
EXPORTERS = ("otlp", "console")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_lock = Lock()
_begun: dict[bytes, "Traces"] = {}


def exporters_wanted(environment: Mapping[str, str]) -> list[str]:
    """Which exporters the environment asks for; none without OTEL_TRACES_EXPORTER or an endpoint. Pure."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    said = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if not said:
        return ["otlp"] if any(environment.get(name) for name in ENDPOINTS) else []
    return [name for name in (word.strip() for word in said.split(",")) if name in EXPORTERS]


def begin(app: App) -> None:
    """Trace what this process does from now on, where the environment asks for it. Cheap to call again and again."""
    wanted = exporters_wanted(os.environ)
    if not wanted:
        return
    secret = app.settings.secret_key.get_secret_value().encode()
    with _lock:
        if secret not in _begun:
            for before in _begun.values():
                look_away(before)
            _begun[secret] = Traces(secret, [_exporter(name) for name in wanted])
            look_on(_begun[secret])


class Traces:
    """Makes spans of what happened, and hands them to ``exporters``. Call it with what happened."""

    def __init__(self, secret: bytes, exporters: "Sequence[SpanExporter]") -> None:
        self._ids, self._next = Ids(secret), _NextIds()
        self._provider = _provider(self._next, exporters)
        self._tracer = self._provider.get_tracer("beforehand")

    def flush(self) -> None:
        """Hand out what still waits to be sent; it goes by itself every few seconds, and at the end."""
        self._provider.force_flush()

    def close(self) -> None:
        """Hand out what still waits, and end."""
        look_away(self)
        self._provider.shutdown()

    def __call__(self, news: News) -> None:
        """Send the spans of what happened."""
        if isinstance(news, Tried):
            self._send(self._tries(news.engine, news))
        elif isinstance(news, Received):
            self._send(self._receipts(news.engine, news))

    def _tries(self, engine: Engine, news: Tried) -> Iterator[tuple[int, Span]]:
        traces = {claim.attempt_id: self._ids.trace(claim.rule_id, claim.occasion) for claim, _ in news.results}
        tries = {one[0].attempt_id: one for one in news.results if self._is_sampled(traces[one[0].attempt_id])}
        if not tries:
            return
        with reading(engine) as connection:
            for attempt_id, span in of_tries(connection, news.provider, tries):
                yield traces[attempt_id], span

    def _receipts(self, engine: Engine, news: Received) -> Iterator[tuple[int, Span]]:
        with reading(engine) as connection:
            for rule_id, occasion, span in of_receipts(connection, news.receipts, news.now):
                if self._is_sampled(trace := self._ids.trace(rule_id, occasion)):
                    yield trace, span

    def _is_sampled(self, trace: int) -> bool:
        """Whether the sampler takes an occasion's root; every process comes to the same answer, by the id alone."""
        decided = self._provider.sampler.should_sample(None, trace, OCCASION).decision
        return bool(decided.is_sampled())  # type: ignore[no-untyped-call]

    def _send(self, spans: Iterable[tuple[int, Span]]) -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags
        from opentelemetry.trace.propagation import set_span_in_context

        for trace, one in spans:
            around = Context()
            if one.parent:
                parent = SpanContext(trace, self._ids.span(trace, one.parent), True, TraceFlags(1))
                around = set_span_in_context(NonRecordingSpan(parent), around)
            with self._next.to_be(trace, self._ids.span(trace, one.key)):
                span = self._tracer.start_span(
                    one.name, context=around, attributes=one.attributes, start_time=_nanoseconds(one.start)
                )
            if one.wrong:
                span.set_status(Status(StatusCode.ERROR))
            span.end(max(_nanoseconds(one.end), _nanoseconds(one.start)))


class _NextIds:
    """Gives a provider the ids that were derived, instead of random ones."""

    def __init__(self) -> None:
        self._local = local()

    @contextmanager
    def to_be(self, trace: int, span: int) -> Iterator[None]:
        """The ids of the span that this thread starts next."""
        self._local.trace, self._local.span = trace, span
        yield

    def generate_trace_id(self) -> int:
        """The trace of the next span."""
        return int(self._local.trace)

    def generate_span_id(self) -> int:
        """The id of the next span."""
        return int(self._local.span)

    def is_trace_id_random(self) -> bool:
        """A keyed hash is as good as random to whoever samples by it."""
        return True


def _provider(ids: _NextIds, exporters: "Sequence[SpanExporter]") -> "TracerProvider":
    """A provider of our own; sampler and limits are what the standard variables say."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    said = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if said else {"service.name": "beforehand"})
    made = TracerProvider(resource=resource, id_generator=ids)  # type: ignore[arg-type]  # the class costs an import
    for exporter in exporters:
        made.add_span_processor(BatchSpanProcessor(exporter))
    return made


def _exporter(name: str) -> "SpanExporter":
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf") != "http/protobuf":
        _log.warning("traces go by http/protobuf, the only protocol that is installed")
    return OTLPSpanExporter()


def _nanoseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1) * 1000
