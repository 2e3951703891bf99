"""One trace from the event to the receipt: over processes and hours, by ids that are derived, and never a person's."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace as opentelemetry_trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import Engine, insert

import models
from beforehand import ROOT
from beforehand.dispatching import dispatch_due
from beforehand.passes import run_rule
from beforehand.sight import tracing
from beforehand.sight.spans import Ids
from beforehand.sight.tracing import Traces, exporters_wanted
from beforehand.web.postroom.faults import Fault
from beforehand.web.postroom.house import Pace
from messaging.onlookers import look_on
from models.database import writing
from models.housekeeping import Change
from tests.deciding import NOON, House
from tests.delivery.pages import World, world
from tests.integration.out_world import SECRET, attempts_of, rows_of

MINUTE = timedelta(minutes=1)


@contextmanager
def looking(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Iterator[InMemorySpanExporter]:
    """Traces into memory, with a sampler as the environment says."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    seen = InMemorySpanExporter()
    traces = Traces(SECRET, [seen])
    look_on(traces)
    seen.flush = traces.flush  # type: ignore[attr-defined]
    yield seen
    traces.close()


def spans(seen: InMemorySpanExporter) -> list[ReadableSpan]:
    seen.flush()  # type: ignore[attr-defined]
    return sorted(seen.get_finished_spans(), key=lambda one: (one.start_time or 0, one.end_time or 0))


def a_rule_on_orders(engine: Engine, folder: Path, people: int = 1) -> House:
    """A house with a rule that listens to an event which happened two minutes before noon."""
    house = House(engine, folder)
    house.template()
    house.rule(
        "late", subject="order", when="{event: order.updated}", condition="shipped_at: present",
        limits="{once_per: order}", steps="  - {send: hello, by: [sms]}",
    )  # fmt: skip
    for _ in range(people):
        house.add(models.Order, customer_id=house.customer(), shipped_at=NOON, placed_at=NOON)
    with writing(engine) as connection:
        connection.execute(insert(Change).values(event="order.updated", changed_at=NOON - 2 * MINUTE))
    return house


@contextmanager
def house_world(house: House, **said: Any) -> Iterator[World]:
    with world(house.engine, rules=house.folder / "rules", templates=house.folder / "templates", **said) as here:
        yield here


def test_one_trace_from_event_to_receipt(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = a_rule_on_orders(engine, tmp_path)
    with looking(monkeypatch) as seen, house_world(house, live_from=NOON - 99 * MINUTE, pace=Pace(sent=60)) as here:
        assert run_rule(here.app, "late", NOON).planned == 1
        assert dispatch_due(here.app, NOON + 3 * MINUTE).sent == 1
        (one,) = attempts_of(engine)
        for status in ("sent", "delivered", "delivered"):
            assert here.status(one.id, one.provider_id, status).status_code == 204
        found = spans(seen)
    assert len({span.context.trace_id for span in found}) == 1
    assert found[0].context.trace_id == Ids(SECRET).trace("late", rows_of(engine)[0].occasion)
    by_name = {span.name: span for span in found}
    assert sorted(span.name for span in found) == ["decide", "event", "occasion", "receipt", "receipt", "send", "wait"]
    root = by_name["occasion"]
    assert root.parent is None
    assert all(by_name[name].parent.span_id == root.context.span_id for name in ("event", "decide", "wait", "send"))  # type: ignore[union-attr]
    assert by_name["receipt"].parent.span_id == by_name["send"].context.span_id  # type: ignore[union-attr]
    assert minutes(by_name["event"]) == (-2, 0)
    assert minutes(by_name["wait"]) == (0, 3)
    assert dict(by_name["send"].attributes or {}) == {
        "beforehand.message": one.message_id,
        "beforehand.attempt": one.id,
        "beforehand.channel": "sms",
        "beforehand.provider": "twilio",
        "beforehand.outcome": "accepted",
        "beforehand.code": "2xx",
    }
    assert (by_name["event"].attributes or {})["beforehand.event"] == "order.updated"
    assert [(span.attributes or {})["beforehand.state"] for span in found if span.name == "receipt"] == [
        "sent",
        "delivered",
    ]


def minutes(span: ReadableSpan) -> tuple[float, float]:
    """Start and end in minutes after noon."""
    noon = NOON.timestamp() * 1e9
    return tuple(((at or 0) - noon) / 60e9 for at in (span.start_time, span.end_time))  # type: ignore[return-value]


def test_tries_again_are_in_the_same_trace_and_begin_it_once(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = a_rule_on_orders(engine, tmp_path)
    with looking(monkeypatch) as seen, house_world(house, live_from=NOON - 99 * MINUTE) as here:
        here.room.house.faults.add(Fault("messages", "busy"))
        run_rule(here.app, "late", NOON)
        assert dispatch_due(here.app, NOON).retry == 1
        dispatch_due(here.app, NOON + 5 * MINUTE)
        found = [span for span in spans(seen) if span.name != "receipt"]
    assert sorted(span.name for span in found) == [
        "decide", "event", "occasion", "send", "send", "wait", "wait",
    ]  # fmt: skip
    assert len({span.context.trace_id for span in found}) == 1
    assert len({span.context.span_id for span in found}) == len(found)
    sends = [span for span in found if span.name == "send"]
    assert [span.status.is_ok for span in sends] == [False, True]


def test_the_standard_sampler_decides_alike_for_a_whole_trace(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = a_rule_on_orders(sqlite_engine, tmp_path, people=60)
    half = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    with (
        looking(monkeypatch, **half) as seen,
        house_world(house, live_from=NOON - 99 * MINUTE, pace=Pace(sent=60), canary=60) as here,
    ):
        run_rule(here.app, "late", NOON)
        assert dispatch_due(here.app, NOON, everything=True).sent == 60
        found = spans(seen)
    by_trace: dict[int, list[str]] = {}
    for span in found:
        by_trace.setdefault(span.context.trace_id, []).append(span.name)
    assert 10 < len(by_trace) < 50
    assert all({"occasion", "event", "decide", "wait", "send"} <= set(names) for names in by_trace.values())


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, ["otlp"]),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp"]),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp", "console"]),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, []),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, []),
    ],
)
def test_the_environment_decides(said: dict[str, str], wanted: list[str]) -> None:
    assert exporters_wanted(said) == wanted


def test_ids_tell_nothing_without_the_secret() -> None:
    one, other = Ids(b"one"), Ids(b"other")
    assert one.trace("late", "order/1") == Ids(b"one").trace("late", "order/1")
    assert len({one.trace("late", "order/1"), one.trace("late", "order/2"), other.trace("late", "order/1")}) == 3
    assert one.span(1, "a") != one.span(2, "a")


def test_without_being_asked_nothing_is_imported() -> None:
    # the API alone comes with fastapi
    heavy = "('opentelemetry.sdk', 'opentelemetry.exporter', 'prometheus')"
    said = (
        "import sys, beforehand.dispatching, beforehand.web.app\n"
        f"print([name for name in sys.modules if name.startswith({heavy})])"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ran = subprocess.run(
        [sys.executable, "-c", said], cwd=ROOT, env=clean | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert ran.stdout.strip() == "[]", ran.stderr


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A receiver of OTLP over HTTP, on this machine."""
    got: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/x-protobuf"
            got.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", got
    server.shutdown()
    server.server_close()


def spans_of(got: list[ExportTraceServiceRequest]) -> list[Any]:
    each = [resource for request in got for resource in request.resource_spans]
    return [span for resource in each for scope in resource.scope_spans for span in scope.spans]


def until_told(name: str, got: list[ExportTraceServiceRequest]) -> None:
    """Wait for a span: that of a callback is made once what it said is committed, after its answer may have gone."""
    end = time.monotonic() + 20
    while time.monotonic() < end and name not in {span.name for span in spans_of(got)}:
        for traces in list(tracing._begun.values()):
            traces.flush()
        time.sleep(0.05)


def test_over_the_wire_by_the_standard_variables_and_prefect_is_left_alone(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = opentelemetry_trace.get_tracer_provider()
    house = a_rule_on_orders(sqlite_engine, tmp_path)
    with collector() as (endpoint, got):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        with house_world(house, live_from=NOON - 99 * MINUTE) as here:
            run_rule(here.app, "late", NOON)
            dispatch_due(here.app, NOON)
            here.room.wait_final(1)
            until_told("receipt", got)
        for traces in tracing._begun.values():
            traces.close()
        tracing._begun.clear()
    assert opentelemetry_trace.get_tracer_provider() is before
    resources = [each.resource for request in got for each in request.resource_spans]
    told = {pair.key: pair.value.string_value for resource in resources for pair in resource.attributes}
    assert (told["service.name"], told["deployment.environment"]) == ("beforehand", "test")
    sent = spans_of(got)
    assert {span.trace_id for span in sent} == {
        Ids(SECRET).trace("late", rows_of(sqlite_engine)[0].occasion).to_bytes(16, "big")
    }
    assert {"event", "decide", "wait", "send", "receipt", "occasion"} == {span.name for span in sent}
