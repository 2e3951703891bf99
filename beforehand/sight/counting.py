"""What this process has done, in counters and histograms: each process tells its own, Prometheus sums them up.

Counting begins when somebody looks on (:func:`messaging.onlookers.look_on`). Labels are ids of rules, words of ours
and classes of codes: bounded, and never a person.
"""

from functools import singledispatchmethod
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from beforehand.sight.classes import cause_class, code_class
from messaging.onlookers import (
    Beaten,
    Called,
    Leading,
    News,
    Passed,
    PrefectSeen,
    Reaped,
    Received,
    Refused,
    Stepped,
    Suppressed,
    Tried,
    Withdrawn,
    Withheld,
)
from models.vocabulary import Channel, MessageState, OutcomeClass

LATENCIES = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
PASSES = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
BEATS = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60)


class Counts:
    """The counters of one process, in ``registry``. Call it with what happened. ``labels`` are those of each metric."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.labels: dict[str, tuple[str, ...]] = {}

        def counter(name: str, about: str, *labels: str) -> Counter:
            self.labels[f"beforehand_{name}"] = labels
            return Counter(f"beforehand_{name}", about, labels, registry=registry)

        def histogram(name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            self.labels[f"beforehand_{name}"] = labels
            return Histogram(f"beforehand_{name}", about, labels, buckets=buckets, registry=registry)

        self.pass_seconds = histogram("pass_duration_seconds", "How long a rule's passes took.", PASSES, "rule")
        self.passes_failed = counter("pass_failures_total", "Passes that were ended by an error.", "rule")
        self.matches = counter("matches_total", "Subjects that matched, in each pass anew.", "rule")
        self.matches_withheld = counter(
            "matches_withheld_total", "Matches and steps that a gate kept back, in each look anew.", "rule", "reason"
        )
        self.planned = counter("messages_planned_total", "Messages that were planned.", "rule")
        self.sent = counter("messages_sent_total", "Messages that a provider has accepted.", "channel")
        self.failed = counter("messages_failed_total", "Messages that were refused or given up.", "channel")
        self.unknown = counter("messages_unknown_total", "Messages that ended a try without a clear answer.", "channel")
        self.again = counter("messages_retried_total", "Messages that go again later.", "channel")
        self.withheld = counter(
            "messages_withheld_total", "Due messages that the last look kept back.", "channel", "reason"
        )
        self.latency = histogram(
            "message_latency_seconds", "From when a message was due until it was accepted.", LATENCIES, "channel"
        )
        self.outcomes = counter(
            "provider_outcomes_total", "What tries led to.", "channel", "provider", "outcome", "code"
        )
        self.receipts = counter("receipts_total", "Words of providers on what they had accepted.", "channel", "state")
        self.suppressed = counter("suppressions_total", "Addresses not to be used from then on.", "cause")
        self.withdrawn = counter("withdrawals_total", "Times that somebody has withdrawn.", "channel")
        self.refused = counter(
            "callbacks_refused_total", "Requests in a provider's name that were not taken.", "reason"
        )
        self.webhooks = counter("webhooks_total", "Tries of the operator's own systems, by what came of it.", "state")
        self.reaped = counter("messages_put_right_total", "Messages that a dead process or a lost answer left.", "how")
        self.beat_seconds = histogram("beat_duration_seconds", "How long the heartbeat's work took.", BEATS, "beat")
        self.beats_failed = counter("beat_failures_total", "Beats that were ended by an error.", "beat")
        # not of the registry before there is something to tell: a process without these parts must not say 0
        self.leads = Gauge("beforehand_leader", "1 where this process holds the heartbeat, else 0.", registry=None)
        self.prefect = Gauge("beforehand_prefect_up", "1 where Prefect's server answered, else 0.", registry=None)
        self._registry, self._shown, self._lock = registry, set[str](), Lock()
        self._begin()

    def _begin(self) -> None:
        """Series that are there from the start, so that the first one counted is seen as a rise."""
        for channel in Channel:
            for one in (self.sent, self.failed, self.unknown, self.again, self.latency):
                one.labels(channel.value)
            for state in (MessageState.DELIVERED, MessageState.UNDELIVERED):
                self.receipts.labels(channel.value, state.value)
        for cause in ("stop", "never_call", "complaint", "bad_address"):
            self.suppressed.labels(cause)
        for how in ("returned", "unknown", "found", "resent", "given_up"):
            self.reaped.labels(how)

    def __call__(self, news: News) -> None:
        """Count what happened."""
        self._count(news)

    @singledispatchmethod
    def _count(self, news: object) -> None:
        raise TypeError(f"nothing to count in {type(news).__name__}")

    @_count.register
    def _tried(self, news: Tried) -> None:
        channel = news.channel.value
        for state, counter in (
            (MessageState.FAILED, self.failed),
            (MessageState.UNKNOWN, self.unknown),
            (MessageState.QUEUED, self.again),
        ):
            counter.labels(channel).inc(news.moved.get(state, 0))
        if late := news.moved.get(MessageState.EXPIRED, 0):
            self.withheld.labels(channel, "too_late").inc(late)
        for claim, outcome in news.results:
            self.outcomes.labels(channel, news.provider, outcome.kind.value, code_class(outcome.code)).inc()
            if outcome.kind is not OutcomeClass.ACCEPTED:
                continue
            self.sent.labels(channel).inc()  # not by the message's state: a callback may have been quicker
            if claim.due_at is not None:
                self.latency.labels(channel).observe(max(0.0, (news.now - claim.due_at).total_seconds()))

    @_count.register
    def _withheld(self, news: Withheld) -> None:
        for reason, count in news.reasons.items():
            self.withheld.labels(news.channel.value, reason.value).inc(count)

    @_count.register
    def _received(self, news: Received) -> None:
        for one in news.receipts:
            self.receipts.labels(one.channel.value, one.state.value).inc()

    @_count.register
    def _refused(self, news: Refused) -> None:
        for reason in news.reasons:
            self.refused.labels(reason).inc()

    @_count.register
    def _suppressed(self, news: Suppressed) -> None:
        self.suppressed.labels(cause_class(news.cause)).inc()

    @_count.register
    def _withdrawn(self, news: Withdrawn) -> None:
        for channel in news.channels:
            self.withdrawn.labels(channel).inc()

    @_count.register
    def _passed(self, news: Passed) -> None:
        self.pass_seconds.labels(news.rule_id).observe(news.seconds)
        self.passes_failed.labels(news.rule_id).inc(news.failed)
        self.matches.labels(news.rule_id).inc(news.matched)
        self._stepped(Stepped(news.rule_id, news.planned, news.withheld))

    @_count.register
    def _stepped(self, news: Stepped) -> None:
        self.planned.labels(news.rule_id).inc(news.planned)
        for reason, count in news.withheld.items():
            self.matches_withheld.labels(news.rule_id, reason.value).inc(count)

    @_count.register
    def _called(self, news: Called) -> None:
        for state, count in news.states.items():
            self.webhooks.labels(state.value).inc(count)

    @_count.register
    def _reaped(self, news: Reaped) -> None:
        for how in ("returned", "unknown", "found", "resent", "given_up"):
            self.reaped.labels(how).inc(getattr(news, how))

    @_count.register
    def _beaten(self, news: Beaten) -> None:
        self.beat_seconds.labels(news.name).observe(news.seconds)
        self.beats_failed.labels(news.name).inc(news.failed)

    @_count.register
    def _leading(self, news: Leading) -> None:
        self.leads.set(news.holds)
        self._show("leader", self.leads)

    @_count.register
    def _prefect(self, news: PrefectSeen) -> None:
        self.prefect.set(news.up)
        self._show("prefect", self.prefect)

    def _show(self, name: str, gauge: Gauge) -> None:
        with self._lock:
            if name not in self._shown:
                self._shown.add(name)
                self._registry.register(gauge)


REGISTRY = CollectorRegistry()
"""What this process has counted; beside it, on request only, stands how things are (:mod:`beforehand.sight.gauges`)."""

COUNTS = Counts(REGISTRY)
