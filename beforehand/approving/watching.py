"""What becomes of held runs as time goes by: expired, watched while they go, stopped again, let go in full, finished.

A beat of the heartbeat calls it every few seconds. Each run is one transaction that looks at the rows alone, so that a
process that dies in between has changed nothing or everything. What hangs on the clock, or on a file that may be away
for a moment, is acted on when two looks have seen it (:mod:`beforehand.approving.looks`).
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, null, select, update

from beforehand.approving.answering import end, is_live, let_canary_go
from beforehand.approving.looks import Looks, at_once
from beforehand.approving.texts import keep_text_authors, rule_of_run, texts_of
from beforehand.wiring import App
from messaging import audit
from messaging.breaker import call_staff, dismiss
from messaging.candidates import TABLES
from messaging.events_out import BRAKE_STOPPED_AGAIN, BRAKE_WARNING, happened
from messaging.guards.brake import REACHED
from messaging.held import HeldRunView, going, runs
from messaging.held.rates import Figures, figures_of
from messaging.plan import one_decision_at_a_time
from messaging.steps import Run, first_speaking, leading_waits
from models.database import reading, writing
from models.terms import Wait, after
from models.vocabulary import HeldState
from rules.loader import Rule

log = logging.getLogger("beforehand.approving")

rule_pass = TABLES["rule_pass"]

TEXTS_CHANGED = "the texts were changed after the approval"
NOT_LIVE = "the rule is not live any more"
UNREADABLE = "the rule's text cannot be read any more"
ENDED_BY_OTHERS = "all of it was cancelled or ended otherwise, so there is nothing left to answer"
UNHEARD = "nobody knows whether any of the first few arrived"
HANGS = "some of the first few have neither left nor ended after {days} days"
REST_HANGS = "{count:,} of its messages have neither left nor ended after {days} days"

PATIENCE = timedelta(days=3)
"""For so long the first few of a run may take, and then the rest, before a person is asked: the rule does nothing else
meanwhile."""


@dataclass
class WatchReport:
    """What a look at the held runs did: numbers of runs, by what became of them."""

    expired: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)


def watch(app: App, now: datetime, looks: Looks | None = None) -> WatchReport:
    """Look at each run that is not at its end. Cheap where there is none. One that fails does not keep the others.

    ``looks`` are those of this process, for two of them to agree; None: this one is enough (the moment is given).
    """
    report, seen = WatchReport(), looks or at_once()
    seen.begin()
    with reading(app.engine) as connection:
        open_ones = [run for run in runs.open_runs(connection) if _moves(connection, run, now)]
    for run in open_ones:
        try:
            keep_text_authors(app, run)
            with writing(app.engine) as connection:
                one_decision_at_a_time(connection)
                found = runs.run_of(connection, run.id, lock=True)
                if found is not None and found.ended_at is None:
                    _Look(app, connection, found, now, report, seen).look()
        except Exception as wrong:  # its text may quote a row
            log.error("held run %s of %s cannot be looked at: %s", run.id, run.rule_id, type(wrong).__name__)
    return report


def watch_once(app: App, looks: Looks | None = None) -> WatchReport:
    """Look at each run as a command does that is over in a moment: where two looks must agree, it waits for the second.

    Takes a few seconds where there is something to be sure of, and no time otherwise.
    """
    looks = looks or Looks()
    report = watch(app, app.clock(), looks)
    if not looks.doubts:
        return report
    time.sleep(looks.apart)
    return watch(app, app.clock(), looks)


def _moves(connection: Connection, run: HeldRunView, now: datetime) -> bool:
    """Whether a look may change something: while a person is asked, little does before time is up."""
    if not run.asks or run.expires_at <= now or run.text_authors is None:
        return True
    return not (is_live(connection, run.rule_id) and going.anything_left(connection, run.id))


@dataclass(frozen=True)
class _Look:
    """One look at one run, in its own transaction."""

    app: App
    connection: Connection
    run: HeldRunView
    now: datetime
    report: WatchReport
    looks: Looks

    def look(self) -> None:
        run = self.run
        if not is_live(self.connection, run.rule_id):
            if self._sure("not live"):
                self._end(HeldState.REFUSED, NOT_LIVE)
                self.report.ended.append(run.id)
        elif not run.asks:
            self._go()
        elif not going.anything_left(self.connection, run.id):
            self._end(HeldState.REFUSED, ENDED_BY_OTHERS)
            self.report.ended.append(run.id)
        elif run.expires_at <= self.now and self._sure("expired"):
            self._end(HeldState.EXPIRED, None)
            self.report.expired.append(run.id)

    def _sure(self, what: str) -> bool:
        return self.looks.sure(self.run.id, what)

    def _end(self, state: HeldState, said: str | None) -> None:
        end(self.connection, self.run, state, self.now, **({"said": said} if said else {}))
        details = self._details() | ({"why": said} if said else {})
        action = "expire" if state is HeldState.EXPIRED else "end"
        audit.write(self.connection, by=runs.BY_ITSELF, action=action, about=self._about, now=self.now, details=details)

    @property
    def _about(self) -> str:
        return f"rule:{self.run.rule_id}"

    def _details(self) -> dict[str, Any]:
        return {"held_run": self.run.id, "version": self.run.version, "count": self.run.count}

    # -- what goes ----------------------------------------------------------------------------------------------

    def _go(self) -> None:
        rule = rule_of_run(self.app, self.connection, self.run)
        figures = figures_of(self.connection, self.run.id, self.run.decided_at or self.run.held_at)
        wrong = (
            UNREADABLE if rule is None else self._changed(rule) or figures.stopped_by() or self._takes_too_long(rule)
        )
        if wrong or rule is None:
            self._stop(wrong, figures, rule)
            return
        if warning := figures.warned_by():
            self._warn(warning, figures)
        waits = len(leading_waits(rule.terms.steps))
        if self.run.state is HeldState.CANARY:
            self._look_at_canary(first_speaking(rule.terms.steps), waits)
        else:
            self._finish_if_over(waits)

    def _changed(self, rule: Rule) -> str:
        return "" if texts_of(self.app, rule) == self.run.texts else TEXTS_CHANGED

    def _takes_too_long(self, rule: Rule) -> str:
        """Why a person must look at the run though nothing bad came back."""
        if self.run.state is not HeldState.CANARY:
            return self._rest_hangs()
        waits = leading_waits(rule.terms.steps)
        return self._hangs(waits) if self._first_few_are_open(len(waits)) else self._unheard()

    def _unheard(self) -> str:
        """All have ended, and nothing is known of any, not even that it failed. What a person has seen is theirs."""
        heard = self._heard
        unheard = heard.lost and not heard.taken and going.count_held(self.connection, self.run.id)
        return UNHEARD if unheard else ""

    @cached_property
    def _heard(self) -> going.Heard:
        return going.heard_of(self.connection, self.run.id, self.run.decided_at or self.run.held_at)

    def _hangs(self, waits: Sequence[Wait]) -> str:
        """The first few take too long. The waits of their rule are given."""
        run, key = self.run, self.run.id
        ends = run.canary_at or run.held_at
        for wait in waits:
            lasts = wait.lasts or wait.at_most
            ends = after(ends, lasts) if lasts else ends
        late = ends + PATIENCE <= self.now and self.looks.sure(key, "hangs")
        return HANGS.format(days=PATIENCE.days) if late else ""

    def _first_few_are_open(self, waits: int) -> bool:
        key = self.run.id
        return bool(going.count_not_taken(self.connection, key, waits) or going.count_undecided(self.connection, key))

    def _stop(self, said: str, figures: Figures, rule: Rule | None) -> None:
        """Nothing more goes before a person has looked again; what has not left comes back when they approve."""
        run, hours = self.run, self.app.settings.approval_hours
        back = going.stop_going(self.connection, run.id, self.now)
        values: dict[str, Any] = {"state": HeldState.STOPPED, "said": said}
        values["expires_at"] = runs.expires(rule.terms, self.now, hours) if rule else self.now + timedelta(hours=hours)
        if run.rest_at is None:
            values["canary"] = max(run.canary - back, 0)
        if rule is not None:
            values["texts"] = texts_of(self.app, rule)
            if values["texts"] != run.texts:
                values["text_authors"] = null()
        runs.move(self.connection, run.id, runs.GOES, **values)
        told = self._details() | figures.as_json()
        happened(self.connection, BRAKE_STOPPED_AGAIN, self._about, self.now, told)
        dismiss(self.connection, runs.topic_of(run.id))
        call = f"the approved run of {run.rule_id} was stopped: {said}. See it with: beforehand approve {run.id}"
        call_staff(self.connection, runs.topic_of(run.id), call, self.now)
        details = told | {"why": said}
        audit.write(
            self.connection, by=runs.BY_ITSELF, action="stop run", about=self._about, now=self.now, details=details
        )
        self.report.stopped.append(run.id)

    def _warn(self, said: str, figures: Figures) -> None:
        call = f"the approved run of {self.run.rule_id} goes on, but look at it: {said}"
        if call_staff(self.connection, runs.topic_of(self.run.id), call, self.now):
            happened(self.connection, BRAKE_WARNING, self._about, self.now, self._details() | figures.as_json())

    def _look_at_canary(self, first: Run, waits: int) -> None:
        """Let the rest go once all of the first few have gone or ended, and we have listened for long enough.

        Where no provider has taken any of them, there is nothing to listen to: the next few go first.
        """
        key = self.run.id
        if self._first_few_are_open(waits):
            return
        heard = self._heard
        if not going.count_held(self.connection, key):
            self._finish()
            return
        if not heard.taken and first.send is not None:
            let_canary_go(self.app, self.connection, self.run, self.now)
            return
        since = max(filter(None, (heard.last, self.run.canary_at)), default=self.now)
        if self.now - since >= timedelta(minutes=self.app.settings.canary_minutes) and self._sure("listened"):
            going.let_go(self.connection, key, self.now, waits=waits)
            runs.move(self.connection, key, [HeldState.CANARY], state=HeldState.GOING, rest_at=self.now)
            self.report.released.append(key)

    def _rest_hangs(self) -> str:
        count = going.count_undecided(self.connection, self.run.id) if self._late() else 0
        return REST_HANGS.format(count=count, days=PATIENCE.days) if count > self._few() else ""

    def _late(self) -> bool:
        """Whether the rest has had its time, which begins anew with each yes."""
        run = self.run
        since = max(filter(None, (run.rest_at, run.decided_at)), default=run.held_at)
        return since + PATIENCE <= self.now and self._sure("late")

    def _few(self) -> int:
        """So many may go without a second person."""
        return max(self.run.most, self.app.settings.canary)

    def _finish_if_over(self, waits: int) -> None:
        """Done once all of it is decided and has gone, but for few that wait for a reason of their own or for too long.

        The rule does nothing else while its run goes, so no straggler may keep it open. Many may: once it is done,
        nobody watches them, and they would go with whatever the texts say by then.
        """
        key = self.run.id
        if going.count_not_taken(self.connection, key, waits, self.now):
            return
        waiting = going.count_undecided(self.connection, key)
        if waiting > self._few():
            return
        if not waiting or not going.count_going(self.connection, key) or self._late():
            self._finish()

    def _finish(self) -> None:
        """All of it has been let go: what it reached counts for what is usual from here on."""
        run, key = self.run, self.run.id
        runs.move(self.connection, key, runs.GOES, state=HeldState.DONE, ended_at=self.now)
        dismiss(self.connection, runs.topic_of(key))
        mine = (rule_pass.c.rule_id == run.rule_id, rule_pass.c.started_at == run.held_at)
        row = self.connection.execute(select(rule_pass.c.id, rule_pass.c.counts).where(*mine)).first()
        reached = going.count_begun(self.connection, key)
        if row is not None:
            counts = (row.counts or {}) | {REACHED: reached}
            self.connection.execute(update(rule_pass).where(rule_pass.c.id == row.id).values(counts=counts))
        details = self._details() | {"reached": reached}
        audit.write(
            self.connection, by=runs.BY_ITSELF, action="finish run", about=self._about, now=self.now, details=details
        )
        self.report.done.append(key)
