"""What the house's own flows call, beside the passes: plain functions of the application, all blocking."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from beforehand import staff_calls
from beforehand.briefing import Brief, brief_of, note_brief
from beforehand.retention import clear_old_rows
from beforehand.wiring import App

if TYPE_CHECKING:
    from beforehand.backtest import Backtest
    from beforehand.dispatching import ReapReport
    from messaging.journal.reconciling import Reconciled

Told = Callable[[str, int, int], None]
"""Is told what is being done, how far it is, and of how many."""


@dataclass(frozen=True)
class Chores:
    """The functions behind the flows that staff run or a clock starts.

    ``brief()`` writes the morning brief and lets the next one begin there; ``backtest(rule_id, start, end, told)``
    replays a rule; ``moment(text)`` reads a moment as staff write it, in the house's zone; ``reconcile(told)`` puts a
    restored database right; ``clear_old_rows()`` deletes what is old and counts it by table; ``call_staff(kind,
    about)`` mails staff what happened. ``prefect_days`` is how long finished runs are kept.
    """

    brief: Callable[[], Brief]
    backtest: "Callable[[str, datetime, datetime, Told], Backtest]"
    moment: Callable[[str], datetime]
    reconcile: "Callable[[Told], tuple[Reconciled, ReapReport]]"
    clear_old_rows: Callable[[], Mapping[str, int]]
    call_staff: Callable[[str, str], staff_calls.Call]
    prefect_days: int


def chores_of(app: App) -> Chores:
    """The chores of a wired application."""
    return Chores(
        brief=lambda: _brief(app),
        backtest=lambda rule_id, start, end, told: _backtest(app, rule_id, start, end, told),
        moment=lambda text: _moment(app, text),
        reconcile=lambda told: _reconcile(app, told),
        clear_old_rows=lambda: clear_old_rows(app, app.clock()),
        call_staff=lambda kind, about: staff_calls.call_staff(app, kind, about, app.clock()),
        prefect_days=app.settings.prefect_days,
    )


def _brief(app: App) -> Brief:
    brief = brief_of(app, app.clock())
    note_brief(app, brief)
    return brief


def _backtest(app: App, rule_id: str, start: datetime, end: datetime, told: Told) -> "Backtest":
    from beforehand.backtest import backtest  # rarely needed, and not quick to import
    from beforehand.passes import rule_of

    return backtest(app, rule_of(app, rule_id), start, end, progress=lambda done, of: told("replaying", done, of))


def _moment(app: App, text: str) -> datetime:
    read = datetime.fromisoformat(text.strip())
    return read if read.tzinfo else read.replace(tzinfo=app.settings.zone)


def _reconcile(app: App, told: Told) -> "tuple[Reconciled, ReapReport]":
    from beforehand.dispatching import reap
    from messaging.journal.reconciling import reconcile

    now = app.clock()
    return reconcile(app.engine, app.journal, now, progress=told), reap(app, now)
