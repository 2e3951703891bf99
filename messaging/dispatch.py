"""Dispatch: claim what is due, render it, arm a few, put them on the wire, record; until nothing is due.

Each channel drains on its own, so that a slow one holds up nobody. Any number of processes may dispatch at once.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from messaging.channels.base import Channel as Way
from messaging.channels.base import Envelope, Outcome
from messaging.claims import Claim, Claimed
from messaging.journal import Journal, JournalError, Restored
from messaging.onlookers import Tried, Withheld, tell
from messaging.outbox import Stops, arm, claim, fail, give_back, stand_down
from messaging.pace import Rates
from messaging.points import At, Point, nowhere
from messaging.policy import Policy
from messaging.recording import DEADLINE, Jitter, no_jitter, record_all
from messaging.segments import count
from messaging.stop_file import KILL_SWITCH, Halted, halts_nothing, is_halted
from models.database import reading, writing
from models.trouble import Trouble, place, plainly, trouble_of
from models.vocabulary import Channel, MessageState, OutcomeClass, Reason

_log = logging.getLogger(__name__)

RECORD_WAITS = (0.2, 1.0, 3.0)
"""Seconds between tries to record a result while the database does not answer."""

Clock = Callable[[], datetime]
EnvelopeOf = Callable[[Sequence[Claim]], Mapping[int, Envelope | Reason]]
"""Renders claims: by message id an envelope, or the reason why there is none."""


@dataclass(frozen=True)
class DispatchReport:
    """What one dispatch did, in messages. ``sent`` are accepted by the provider; ``retry`` go again later.

    ``stopped`` names the channels that rest because their account or server is at fault, with the provider's code.
    """

    sent: int = 0
    failed: int = 0
    unknown: int = 0
    retry: int = 0
    withheld: dict[Reason, int] = field(default_factory=dict)
    by_channel: dict[Channel, int] = field(default_factory=dict)
    stopped: dict[Channel, str] = field(default_factory=dict)

    def __add__(self, other: "DispatchReport") -> "DispatchReport":
        """Both together."""
        return DispatchReport(
            self.sent + other.sent,
            self.failed + other.failed,
            self.unknown + other.unknown,
            self.retry + other.retry,
            dict(Counter(self.withheld) + Counter(other.withheld)),
            dict(Counter(self.by_channel) + Counter(other.by_channel)),
            self.stopped | other.stopped,
        )


@dataclass(frozen=True)
class Plan:
    """How to dispatch. ``limit``: at most so many messages a channel (None: all that is due). ``rates`` are the
    senders' own; ``jitter`` gives random numbers from 0 to 1, so that what failed together does not return together.

    ``stopping`` is asked between small groups: True lets go at once. ``halted`` gives what the stop file stops; it is
    asked before a claim, at arm and right before the first byte of each message. ``at`` is told of each point that a
    crash may hit. ``journal`` keeps what goes on the wire outside the database. ``ticks`` are seconds that no change of
    the wall clock moves.
    """

    policy: Policy
    batch: int = 100
    lease_seconds: float = 60
    send_timeout: float = 10
    limit: int | None = None
    stops: Stops | None = None
    rates: Rates = field(default_factory=dict)
    jitter: Jitter = no_jitter
    stopping: Callable[[], bool] = lambda: False
    halted: Halted = halts_nothing
    at: At = nowhere
    journal: Journal | None = None
    ticks: Callable[[], float] = time.monotonic


def dispatch(
    engine: Engine, clock: Clock, channels: Mapping[Channel, Way], envelope_of: EnvelopeOf, plan: Plan
) -> DispatchReport:
    """Send what is due now. Safe to call from any number of threads and processes: the claim decides who sends what."""
    drains = [_Drain(engine, clock, way, envelope_of, plan) for way in channels.values()]
    report = DispatchReport()
    with ThreadPoolExecutor(max(1, len(drains)), thread_name_prefix="dispatch") as pool:
        for done in [pool.submit(drain.run) for drain in drains]:
            report += done.result()
    return report


class _Drain:
    """The emptying of one channel's queue."""

    def __init__(self, engine: Engine, clock: Clock, way: Way, envelope_of: EnvelopeOf, plan: Plan) -> None:
        self.engine, self.clock, self.way, self.envelope_of, self.plan = engine, clock, way, envelope_of, plan

    def run(self) -> DispatchReport:
        """Claim batch after batch until nothing is due, the limit is reached, or the channel rests."""
        report, taken = DispatchReport(), 0
        try:
            with ThreadPoolExecutor(self.way.parallel, thread_name_prefix=self.way.name.value) as pool:
                while not (self.plan.stopping() or report.stopped):
                    most = self.plan.batch if self.plan.limit is None else min(self.plan.batch, self.plan.limit - taken)
                    claimed = self._claim(most) if most > 0 else Claimed()
                    report += self._say_withheld(claimed.withheld)
                    if not claimed.looked:
                        break
                    taken += len(claimed.claims)
                    report += self._send_batch(pool, claimed.claims)
        except DBAPIError as wrong:
            if self.plan.journal and trouble_of(wrong) is Trouble.DAMAGED:
                self.plan.journal.note_damage(plainly(wrong, self.engine.url))
            raise
        finally:
            if taken:  # the channel is shared: an idle dispatch must not close what another one sends through
                self.way.close()
        return report

    def _claim(self, most: int) -> Claimed:
        if self.plan.journal:
            self.plan.journal.check()
        with writing(self.engine) as connection:
            claimed = claim(
                connection,
                self.clock(),
                limit=most,
                lease_seconds=self.plan.lease_seconds,
                policy=self.plan.policy,
                channels=[self.way.name],
                stops=self.plan.stops,
                rates=self.plan.rates,
                journal=self.plan.journal,
                halted=self.plan.halted(),
            )
            self.plan.at(Point.CLAIMING)
        self.plan.at(Point.CLAIMED)
        return claimed

    def _send_batch(self, pool: ThreadPoolExecutor, claims: Sequence[Claim]) -> DispatchReport:
        ready, broken = self._render(claims)
        fail(self.engine, broken, self.clock())
        self._say_tried([], {MessageState.FAILED: len(broken)} if broken else {})
        self.plan.at(Point.RENDERED)
        report = DispatchReport(failed=len(broken))
        keys = self._keys([c for c, _ in ready])
        left = list(ready)
        while left and not (report.stopped or self.plan.stopping()):
            group, left = left[: self.way.parallel], left[self.way.parallel :]
            report += self._send_group(pool, group, keys)
        give_back(self.engine, [c for c, _ in left], self.clock())
        return report

    def _keys(self, claims: Sequence[Claim]) -> Mapping[int, str]:
        if not (self.plan.journal and claims):
            return {}
        with reading(self.engine) as connection:
            return self.plan.journal.keys(connection, claims)

    def _send_group(
        self, pool: ThreadPoolExecutor, group: Sequence[tuple[Claim, Envelope]], keys: Mapping[int, str]
    ) -> DispatchReport:
        envelopes = {c.attempt_id: envelope for c, envelope in group}
        began = self.plan.ticks()
        armed = self._arm([c for c, _ in group], envelopes, keys)
        self.plan.at(Point.JOURNALED)
        results = list(pool.map(lambda c: (c, self._try(c, envelopes[c.attempt_id], began)), armed))
        self.plan.at(Point.ANSWERED)
        moved = self._record(results)
        self.plan.at(Point.RECORDED)
        self._say_tried(results, moved)
        return _count(self.way.name, results, moved)

    def _say_tried(self, results: Sequence[tuple[Claim, Outcome]], moved: Mapping[MessageState, int]) -> None:
        if results or moved:
            tell(Tried(self.engine, self.way.name, self.way.provider, results, moved, self.clock()))

    def _say_withheld(self, reasons: dict[Reason, int]) -> DispatchReport:
        if reasons:
            tell(Withheld(self.way.name, reasons))
        return DispatchReport(withheld=reasons)

    def _arm(self, claims: Sequence[Claim], envelopes: Mapping[int, Envelope], keys: Mapping[int, str]) -> list[Claim]:
        """Arm; where database or journal go away meanwhile, what may be armed is stood down, since nothing was sent."""
        marks = {key: self.way.fingerprint(envelope) for key, envelope in envelopes.items()}
        lease, provider = self.plan.lease_seconds, self.way.provider
        now = self.clock()
        try:
            return arm(
                self.engine,
                claims,
                now,
                lease_seconds=lease,
                provider=provider,
                fingerprints=marks,
                rates=self.plan.rates,
                units=self._units(envelopes),
                at=self.plan.at,
                journal=self.plan.journal,
                keys=keys,
                halted=self.plan.halted(),
            )
        except Restored:
            self._hold()
            give_back(self.engine, claims, self.clock())
            return []
        except (DBAPIError, JournalError):
            with suppress(DBAPIError):  # it is still away: the reaper parks what is armed as unknown
                stand_down(self.engine, claims, self.clock())
            raise

    def _units(self, envelopes: Mapping[int, Envelope]) -> Mapping[int, int]:
        """What each message takes of its sender's rate: an SMS its segments."""
        if self.way.name is not Channel.SMS or Channel.SMS not in self.plan.rates:
            return {}
        return {key: count(envelope.text).segments for key, envelope in envelopes.items()}

    def _record(self, results: Sequence[tuple[Claim, Outcome]]) -> Counter[MessageState]:
        """Commit results; what is known of a send must not be lost to a database that is away for a moment."""
        journal, jitter = self.plan.journal, self.plan.jitter
        try:
            for wait in RECORD_WAITS:
                try:
                    return record_all(
                        self.engine, results, self.clock(), jitter=jitter, at=self.plan.at, journal=journal
                    )
                except DBAPIError as wrong:
                    _log.warning("results could not be recorded yet: %s", type(wrong.orig).__name__)
                    time.sleep(wait)
            return record_all(self.engine, results, self.clock(), jitter=jitter, at=self.plan.at, journal=journal)
        except (DBAPIError, Restored) as wrong:
            if journal:
                journal.owe(results, self.clock())
            if not isinstance(wrong, Restored):
                raise
            self._hold()
            return Counter()

    def _hold(self) -> None:
        """The database has lost what this process wrote: nothing more is sent until it has been reconciled."""
        _log.error("%s", Restored())
        if self.plan.journal:
            with writing(self.engine) as connection:
                self.plan.journal.look(connection, self.clock())

    def _try(self, claim: Claim, envelope: Envelope, began: float) -> Outcome:
        """Look at deadline and stop file once more, then try. A process that slept since it ``began`` must not send.

        Two clocks are asked: the wall's may have been set back, the other one may have stood still with the machine.
        """
        now = self.clock()
        spare = min(self.plan.send_timeout, self.plan.lease_seconds / 2)
        late = now >= claim.lease_until - timedelta(seconds=spare)
        slept = self.plan.ticks() - began >= self.plan.lease_seconds - spare
        if late or slept or (claim.expires_at is not None and now >= claim.expires_at):
            return Outcome(OutcomeClass.NOT_ACCEPTED, code=DEADLINE)
        if is_halted(self.plan.halted, f"rule:{claim.rule_id}", f"channel:{claim.channel}"):
            return Outcome(OutcomeClass.NOT_ACCEPTED, code=KILL_SWITCH)
        self.plan.at(Point.SENDING)
        try:
            return self.way.send(envelope)
        except Exception as bug:
            said = "channel %s broke its promise not to raise: %s at %s"  # no traceback: its text may quote the message
            _log.error(said, self.way.name, type(bug).__name__, place(bug))
            return Outcome(OutcomeClass.UNKNOWN, code=type(bug).__name__)

    def _render(self, claims: Sequence[Claim]) -> tuple[list[tuple[Claim, Envelope]], list[tuple[Claim, Reason]]]:
        found = self._envelopes(claims)
        ready: list[tuple[Claim, Envelope]] = []
        broken: list[tuple[Claim, Reason]] = []
        for c in claims:
            made = found.get(c.message_id, Reason.TEMPLATE_FAILED)
            if isinstance(made, Envelope):
                ready.append((c, replace(made, attempt_id=c.attempt_id)))
            else:
                broken.append((c, made))
        return ready, broken

    def _envelopes(self, claims: Sequence[Claim]) -> dict[int, Envelope | Reason]:
        """Render the batch; where that raises, one by one, so that one bad message fails alone."""
        try:
            return dict(self.envelope_of(claims)) if claims else {}
        except Exception as wrong:  # its text may hold a customer's words
            _log.warning("a batch could not be rendered, so one by one: %s", type(wrong).__name__)
        return dict(self._one_by_one(claims))

    def _one_by_one(self, claims: Sequence[Claim]) -> Iterator[tuple[int, Envelope | Reason]]:
        for c in claims:
            try:
                yield from self.envelope_of([c]).items()
            except Exception as wrong:
                _log.warning("message %s: template %s failed: %s", c.message_id, c.template, type(wrong).__name__)
                yield c.message_id, Reason.TEMPLATE_FAILED


def _count(
    name: Channel, results: Sequence[tuple[Claim, Outcome]], moved: Mapping[MessageState, int]
) -> DispatchReport:
    sent = sum(outcome.kind is OutcomeClass.ACCEPTED for _, outcome in results)  # a callback may have moved it already
    late = moved.get(MessageState.EXPIRED, 0)
    stops = [outcome.code for _, outcome in results if outcome.stops]
    return DispatchReport(
        sent=sent,
        failed=moved.get(MessageState.FAILED, 0),
        unknown=moved.get(MessageState.UNKNOWN, 0),
        retry=moved.get(MessageState.QUEUED, 0),
        withheld={Reason.TOO_LATE: late} if late else {},
        by_channel={name: sent} if sent else {},
        stopped={name: stops[0]} if stops else {},
    )
