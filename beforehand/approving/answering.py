"""The answer of a second person to a held run: looked at, written down and taken effect of in one transaction."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, null, select, update

from beforehand.approving.texts import keep_text_authors, rule_of_run, shown_by, texts_of
from beforehand.approving.who import is_among, same_person, tells
from beforehand.passes.in_force import IN_FORCE
from beforehand.wiring import App
from messaging import audit
from messaging.breaker import dismiss
from messaging.events_out import BRAKE_ANSWERED, happened
from messaging.guards.brake import held_run as table
from messaging.held import HeldRunView, runs
from messaging.held.going import end_all, go_on, let_go
from messaging.plan import one_decision_at_a_time
from messaging.steps import leading_waits
from models.database import reading, writing
from models.vocabulary import HeldState, RuleStatus

CANARY_SHARE = 0.01
"""The first few are so large a part of a run, where that is more than the house's ``canary``."""


_CHANGED = "the templates of {rule} were changed since they were shown; look again, then answer"
_OTHERWISE = "what is asked of {rule} is not what was shown: its templates or its state have changed; look again"


class NotAllowed(Exception):
    """This answer cannot be given; the text is a sentence for whoever gave it."""


@dataclass(frozen=True)
class _Answer:
    """One answer: of whom, by which way, when, and why; ``known_as``: who gave it by the machine it was given at."""

    run_id: int
    approve: bool
    by: str
    via: str
    now: datetime
    why: str = ""
    known_as: tuple[str, ...] = ()
    shown: str | None = None


def open_runs(app: App) -> list[HeldRunView]:
    """The held runs that have not come to their end, the oldest first."""
    with reading(app.engine) as connection:
        return runs.open_runs(connection)


def held_run(app: App, held_run_id: int) -> HeldRunView:
    """One held run, at its end or not. Raises NotAllowed where there is none of that number."""
    with reading(app.engine) as connection:
        return _known(runs.run_of(connection, held_run_id), held_run_id)


def windows(app: App) -> list[HeldRunView]:
    """The held runs that ask, or that a flow run still asks about in Prefect's UI, whatever became of them."""
    with reading(app.engine) as connection:
        return runs.with_window(connection)


def note_window(app: App, held_run_id: int, asked_in: str | None) -> None:
    """Remember the flow run that asks for an answer in Prefect's UI; None: there is none any more."""
    with writing(app.engine) as connection:
        connection.execute(update(table).where(table.c.id == held_run_id).values(asked_in=asked_in))


def answer(
    app: App,
    held_run_id: int,
    *,
    approve: bool,
    by: str,
    via: str,
    now: datetime,
    why: str = "",
    known_as: Collection[str] = (),
    shown: str | None = None,
) -> HeldRunView:
    """Approve or refuse a run that asks, as ``by`` (a name or an e-mail address) by way of ``via`` (``cli`` ...).

    Approved, the first few go, or it goes on where it was stopped; refused, nothing more of it goes. Raises NotAllowed:
    there is none, it does not ask (any more), nobody says who answers, or who approves wrote the rule or its templates
    or is no approver, the rule is not live any more, or its templates are not those that were shown. Where two answer
    at once, one of them does. ``known_as`` are names of whoever answers that they did not type, such as their login: an
    author does not approve by giving another name. ``shown`` is the word of the question that was looked at: a yes to
    another one does not count. None: whoever calls has just looked.
    """
    said = _Answer(held_run_id, approve, " ".join(by.split()), via, now, why.strip(), tuple(known_as), shown)
    if approve:
        keep_text_authors(app, held_run(app, held_run_id))
    with writing(app.engine) as connection:
        one_decision_at_a_time(connection)
        run = _known(runs.run_of(connection, held_run_id, lock=True), held_run_id)
        _check(app, run, said)
        texts = _texts_now(app, connection, run) if approve else run.texts
        if texts == run.texts:
            if approve and shown not in (None, shown_by(run, texts)):
                raise NotAllowed(_OTHERWISE.format(rule=run.rule_id))
            _take_effect(app, connection, run, said)
            return _known(runs.run_of(connection, held_run_id), held_run_id)
        runs.move(connection, run.id, runs.ASKS, texts=texts, text_authors=null())
    raise NotAllowed(_CHANGED.format(rule=run.rule_id))


def _known(run: HeldRunView | None, run_id: int) -> HeldRunView:
    if run is None:
        raise NotAllowed(f"there is no held run {run_id}; see what waits with: beforehand approve")
    return run


def _check(app: App, run: HeldRunView, said: _Answer) -> None:
    if not said.by:
        raise NotAllowed("nobody says who answers; a name or an e-mail address is needed")
    if not run.asks:
        by = f" by {run.decided_by}" if run.decided_by else ""
        raise NotAllowed(f"run {run.id} of {run.rule_id} has been answered{by}: {run.stands}")
    if not said.approve:
        return
    if run.expires_at <= said.now:
        raise NotAllowed(f"nobody answered run {run.id} by {run.expires_at:%Y-%m-%d %H:%M} UTC, so it is refused")
    if run.text_authors is None:
        raise NotAllowed(_CHANGED.format(rule=run.rule_id))
    _check_second(run, said)
    approvers = app.settings.approvers
    if approvers and not is_among(said.by, approvers):
        raise NotAllowed(f"{said.by} is not among those who may approve held runs (BEFOREHAND_APPROVERS)")


def _check_second(run: HeldRunView, said: _Answer) -> None:
    """Raise NotAllowed where whoever approves wrote what customers would read, by the name given or by their login."""
    wrote = [(run.author, "this text"), *((author, "a template") for author in run.text_authors or ())]
    for author, what in wrote:
        if not author:
            continue
        if same_person(said.by, author):
            raise NotAllowed(f"{said.by} wrote {what} of {run.rule_id}; a second person must approve it")
        if any(same_person(name, author) for name in said.known_as if tells(name)):
            raise NotAllowed(
                f"you are logged in as {author}, who wrote {what} of {run.rule_id}; a second person must approve it, "
                "from a login of their own"
            )


def is_live(connection: Connection, rule_id: str) -> bool:
    """Whether a rule is live by what is in force; where nobody has written that down, it is."""
    status = connection.execute(select(IN_FORCE.c.status).where(IN_FORCE.c.rule_id == rule_id)).scalar_one_or_none()
    return status in (None, RuleStatus.LIVE)


def _texts_now(app: App, connection: Connection, run: HeldRunView) -> str | None:
    rule = rule_of_run(app, connection, run)
    if rule is None:
        raise NotAllowed(f"the text of {run.rule_id} with which run {run.id} was held cannot be read any more")
    if not is_live(connection, run.rule_id):
        raise NotAllowed(f"{run.rule_id} is not live any more; nothing of its held run may go")
    return texts_of(app, rule)


def _take_effect(app: App, connection: Connection, run: HeldRunView, said: _Answer) -> None:
    decided = {"decided_at": said.now, "decided_by": said.by[:200], "said": None}
    if not said.approve:
        end(connection, run, HeldState.REFUSED, said.now, **decided | {"said": said.why or None})
    elif run.state is HeldState.STOPPED:
        state = HeldState.GOING if run.rest_at else HeldState.CANARY
        _moved(connection, run, state=state, **decided)
        go_on(connection, run.id)
        if run.rest_at:
            let_go(connection, run.id, said.now, waits=waits_of(app, connection, run))
        else:
            let_canary_go(app, connection, run, said.now, gone=run.canary)
    else:
        _moved(connection, run, state=HeldState.CANARY, **decided)
        let_canary_go(app, connection, run, said.now)
    _write_down(connection, run, said)


def _moved(connection: Connection, run: HeldRunView, **values: object) -> None:
    if not runs.move(connection, run.id, runs.ASKS, **values):
        raise NotAllowed(f"run {run.id} of {run.rule_id} has just been answered by somebody else")


def let_canary_go(app: App, connection: Connection, run: HeldRunView, now: datetime, *, gone: int = 0) -> int:
    """Let the first few go, spread over the run, of which ``gone`` have gone already. Returns how many."""
    most = canary_of(app, run) - gone
    count = let_go(connection, run.id, now, most=max(most, 0), waits=waits_of(app, connection, run))
    values = {"canary": table.c.canary + count, "canary_at": now}
    connection.execute(update(table).where(table.c.id == run.id).values(values))
    return count


def canary_of(app: App, run: HeldRunView) -> int:
    """How many of a run go first."""
    return max(app.settings.canary, math.ceil(CANARY_SHARE * run.subjects))


def waits_of(app: App, connection: Connection, run: HeldRunView) -> int:
    """How many waits the run's rule begins with."""
    rule = rule_of_run(app, connection, run)
    return len(leading_waits(rule.terms.steps)) if rule else 0


def end(connection: Connection, run: HeldRunView, state: HeldState, now: datetime, **values: object) -> int:
    """End a run of which nothing more goes, and take its notice back. Returns how many matches were held."""
    if not runs.move(connection, run.id, (*runs.ASKS, *runs.GOES), state=state, ended_at=now, **values):
        raise NotAllowed(f"run {run.id} of {run.rule_id} has come to its end meanwhile")
    dismiss(connection, runs.topic_of(run.id))
    return end_all(connection, run.id, now)


def _write_down(connection: Connection, run: HeldRunView, said: _Answer) -> None:
    action, about = "approve" if said.approve else "refuse", f"rule:{run.rule_id}"
    told = {"held_run": run.id, "version": run.version, "count": run.count, "via": said.via}
    why = {"why": said.why} if said.why else {}
    why |= {"login": ", ".join(said.known_as)} if said.known_as else {}
    dismiss(connection, runs.topic_of(run.id))
    audit.write(connection, by=said.by, action=action, about=about, now=said.now, details=told | why)
    happened(connection, BRAKE_ANSWERED, about, said.now, told | {"answer": action})
