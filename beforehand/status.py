"""How things stand: the rules in force, their last passes, what waits, and whether the files say something else."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, text

from beforehand.passes import policy_of, rules_of
from beforehand.passes.in_force import GONE, IN_FORCE, NOTICE, RULE_PASS, RULES
from beforehand.stopping import standing_of
from beforehand.surroundings import SKEW, Surroundings, look_around
from beforehand.wiring import App
from messaging.breaker import is_until_seen, opened
from messaging.held.runs import HeldRunView, open_runs, topic_of
from messaging.journal.marks import held_since
from messaging.policy import Brakes
from models.database import reading
from models.delivery import Match, Message
from models.housekeeping import Lease
from models.vocabulary import MatchState, MessageState
from rules.errors import RuleErrors

MATCH: Any = Match.__table__  # type: ignore[attr-defined]
MESSAGE: Any = Message.__table__  # type: ignore[attr-defined]
LEASE: Any = Lease.__table__  # type: ignore[attr-defined]

LATE = timedelta(minutes=10)
"""Messages that are due for longer than this are told: nobody seems to send them."""

OPEN = (
    MessageState.PLANNED,
    MessageState.HELD,
    MessageState.QUEUED,
    MessageState.CLAIMED,
    MessageState.IN_FLIGHT,
)
"""Messages that have not left yet; beside them, those are open of which nobody knows whether they have."""


@dataclass(frozen=True)
class LastPass:
    """The newest finished pass of a rule: with which version and status, what it found, planned and withheld."""

    started_at: datetime
    version: str
    status: str
    matched: int
    messages: int
    withheld: int


@dataclass(frozen=True)
class RuleStanding:
    """One rule in force. ``waiting`` are matches that have begun and wait for a later step, by version."""

    rule: str
    version: str
    status: str
    since: datetime
    live_since: datetime | None
    last_pass: LastPass | None
    waiting: dict[str, int]


@dataclass(frozen=True)
class Files:
    """The rule files beside what is in force: ids that are ``new``, ``changed`` or ``gone``, or why all are refused."""

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def differ(self) -> bool:
        """Whether the files say anything else than what is in force."""
        return bool(self.new or self.changed or self.gone or self.problems)


@dataclass(frozen=True)
class CallToStaff:
    """Something that only staff can put right, while it lasts: what it is about, what is wrong, since when."""

    topic: str
    said: str
    since: datetime


@dataclass(frozen=True)
class Resting:
    """An account or sender at fault: the ``channels`` that rest, what it said, how often in a row, until when."""

    name: str
    channels: list[str]
    code: str
    times: int
    until: datetime


@dataclass(frozen=True)
class Due:
    """Messages that are due, and since when the one that waits longest is."""

    count: int
    oldest: datetime | None


@dataclass(frozen=True)
class Finding:
    """Something that needs a person: ``what`` it is about, what is wrong, and what to do."""

    what: str
    said: str
    do: str


@dataclass(frozen=True)
class Status:
    """How things stand at ``now``. ``running`` names the process that holds the heartbeat, None: no house runs.

    ``refused_since`` is since when the running house refuses the files. ``messages`` are the open ones by state.
    ``held_since``: everything is held after a restore, until `beforehand reconcile`. ``stopped`` are the kill switches
    with who set them. ``held_runs`` wait for a second person or go bit by bit; ``brakes`` say over which figures
    a run is held. ``around``: processes, disks, clocks, Prefect.
    """

    now: datetime
    running: str | None
    rules: list[RuleStanding]
    files: Files
    refused_since: datetime | None
    messages: dict[str, int]
    held_since: datetime | None = None
    calls: list[CallToStaff] = field(default_factory=list)
    resting: list[Resting] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)
    due: Due = field(default_factory=lambda: Due(0, None))
    held_runs: list[HeldRunView] = field(default_factory=list)
    brakes: Brakes | None = None
    around: Surroundings = field(default_factory=Surroundings)

    @property
    def findings(self) -> list[Finding]:
        """What needs a person, the most urgent first, each with what to do."""
        return [*_of_sending(self), *_of_processes(self), *_of_around(self)]

    def as_json(self) -> dict[str, Any]:
        """The status as JSON values; moments as ISO 8601."""
        return asdict(self) | {"findings": [asdict(one) for one in self.findings]}


def status_of(app: App, now: datetime) -> Status:
    """Look at the tables and at the files. Writes nothing."""
    with reading(app.engine) as connection:
        rows = connection.execute(select(IN_FORCE).order_by(IN_FORCE.c.rule_id)).all()
        passes, waiting = _last_passes(connection), _waiting(connection)
        shown = [row for row in rows if row.status != GONE or waiting.get(row.rule_id)]
        holder = select(LEASE.c.holder).where(LEASE.c.duty == "heartbeat", LEASE.c.until > now)
        return Status(
            now=now,
            running=connection.execute(holder).scalar_one_or_none(),
            rules=[_standing(row, passes, waiting) for row in shown],
            files=_files(app, {row.rule_id: row.version for row in rows if row.status != GONE}),
            refused_since=connection.execute(
                select(NOTICE.c.since).where(NOTICE.c.topic == RULES)
            ).scalar_one_or_none(),
            messages=_messages(connection),
            held_since=held_since(connection),
            calls=calls_to_staff(connection),
            resting=[
                Resting(one.name, [channel.value for channel in one.channels], one.code, one.times, one.until)
                for one in opened(connection)
            ],
            stopped=standing_of(connection, app),
            due=_due(connection, now),
            held_runs=open_runs(connection),
            brakes=policy_of(app).brakes,
            around=look_around(connection, app.settings, app.clock, now),
        )


def _of_sending(seen: Status) -> Iterator[Finding]:
    if seen.held_since:
        said = f"everything is held since {_utc(seen.held_since)}: the database knows less than what was sent from it"
        yield Finding("restore", said, "run `beforehand reconcile`; docs/how-to/restore-a-backup.md says what it does")
    for scope, by in seen.stopped.items():
        said = f"{scope} is stopped, by {by or 'nobody knows whom'}: what is due of it waits"
        yield Finding("stopped", said, f"`beforehand resume {scope}` says what would go, and with --yes lets it")
    asked = {topic_of(run.id) for run in seen.held_runs if run.asks}
    for call in (call for call in seen.calls if call.topic not in asked):
        yield Finding(call.topic, f"{call.said} (since {_utc(call.since)})", _what_to_do(call.topic))
    for run in seen.held_runs:
        if run.asks:
            said = f"{run.rule_id}: {run.count:,} where {run.most:,} are usual or allowed; {run.stands}"
            until = f"until {_utc(run.expires_at)}; then it is refused"
            yield Finding(f"held run {run.id}", said, f"`beforehand approve {run.id}` shows it, {until}")
    if seen.files.problems:
        yield Finding(
            "rules", "the rule files are refused", "`beforehand check` says where; the old rules are in force"
        )
    late = seen.due.oldest is not None and seen.now - seen.due.oldest > LATE
    if seen.due.oldest and late and not (seen.stopped or seen.resting or seen.held_since):
        said = f"{seen.due.count:,} messages are due, the oldest since {_utc(seen.due.oldest)}"
        yield Finding("due", said, "see whether a dispatcher runs and what the log says; `beforehand up` starts one")


def _of_processes(seen: Status) -> Iterator[Finding]:
    for one in seen.around.processes:
        if one.silent:
            said = f"process {one.boot} on {one.host} was last seen at {_utc(one.seen_at)}"
            yield Finding("process", said, "see whether its machine is up and reaches the database; start it again")
        elif one.not_well:
            parts = ", ".join(f"{name} ({one.parts[name].get('state')})" for name in one.not_well)
            yield Finding("process", f"{one.boot}: {parts}", "it is started again by itself; VAR/house.log says why")
    live = [one for one in seen.around.processes if not one.silent]
    if live and not any(one.leads for one in live):
        said = "no process does what only one may do: steps, event rules, deployments"
        yield Finding("heartbeat", said, "start a process with the part heartbeat: `beforehand up`")
    if len(versions := {one.version for one in live}) > 1:
        yield Finding(
            "versions", f"processes of several versions run: {', '.join(sorted(versions))}", "finish the update"
        )


def _of_around(seen: Status) -> Iterator[Finding]:
    around = seen.around
    if around.prefect and not around.prefect.up:
        said = f"the Prefect server at {around.prefect.api} does not answer; passes and messages go on without it"
        yield Finding("prefect", said, "see VAR/prefect-server.log, or whoever runs it")
    for disk in around.disks:
        if disk.low:
            said = f"{disk.free / 1e9:.1f} of {disk.total / 1e9:.0f} GB are free for {disk.what} ({disk.path})"
            yield Finding("disk", said, "make room: when it is full nothing is sent any more")
    most = SKEW / timedelta(milliseconds=1)
    for one in around.processes:
        if not one.silent and abs(one.ahead_ms or 0) > most:
            said = f"the clock of {one.host} is {(one.ahead_ms or 0) / 1000:+.1f} s off the database's"
            yield Finding("clock", said, "set it by NTP, and the database's")
    if around.prefect and abs(around.prefect.ahead_seconds or 0) > SKEW.total_seconds():
        said = f"this machine's clock is {around.prefect.ahead_seconds:+.1f} s off the Prefect server's"
        yield Finding("clock", said, "set both by NTP")


def _what_to_do(topic: str) -> str:
    do = _TO_DO.get(topic) or _TO_DO.get(topic.partition(":")[0], "see the log")
    return f"{do}; `beforehand seen {topic}` says that somebody has looked" if is_until_seen(topic) else do


_TO_DO = {
    "provider": "put it right with the provider; one message tries by itself whether it is well",
    "part": "it is started again by itself; VAR/house.log says why it died",
    "rules": "bring the same rule files to every machine",
    "rule": "see the rule's templates and messages; `beforehand check`",
    "callbacks": "look at BEFOREHAND_PUBLIC_URL and the auth token; docs/how-to/callbacks.md",
    "callback": "see the log; nothing was changed by it",
    "mail:complaint": "see which rule sent it (`beforehand sent`); the address is not used again",
    "mail:returned": "read the flagged mail in the Maildir",
}


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _due(connection: Connection, now: datetime) -> Due:
    m = MESSAGE.c
    due = select(func.count(), func.min(m.due_at)).where(text("state IN ('planned', 'queued')"), m.due_at <= now)
    count, oldest = connection.execute(due).one()
    return Due(count, oldest)


def calls_to_staff(connection: Connection) -> list[CallToStaff]:
    """What staff are called for; the rule files' own notice is told with the files."""
    n = NOTICE.c
    rows = connection.execute(select(n.topic, n.said, n.since).where(n.topic != RULES).order_by(n.since, n.topic))
    return [CallToStaff(*row) for row in rows]


def _standing(row: Any, passes: Mapping[str, LastPass], waiting: Mapping[str, dict[str, int]]) -> RuleStanding:
    return RuleStanding(
        rule=row.rule_id,
        version=row.version,
        status=row.status,
        since=row.since,
        live_since=row.live_since,
        last_pass=passes.get(row.rule_id),
        waiting=waiting.get(row.rule_id, {}),
    )


def _last_passes(connection: Connection) -> dict[str, LastPass]:
    c = RULE_PASS.c
    newest = select(func.max(c.id)).where(c.finished_at.is_not(None)).group_by(c.rule_id)
    found = {}
    for row in connection.execute(select(RULE_PASS).where(c.id.in_(newest))):
        counts = row.counts or {}
        found[row.rule_id] = LastPass(
            started_at=row.started_at,
            version=row.version,
            status=row.status,
            matched=counts.get("matched", 0),
            messages=counts.get("messages", 0),
            withheld=sum(counts.get("withheld", {}).values()),
        )
    return found


def _waiting(connection: Connection) -> dict[str, dict[str, int]]:
    c = MATCH.c
    counted = select(c.rule_id, c.version, func.count().label("n")).where(c.state == MatchState.OPEN)
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(counted.group_by(c.rule_id, c.version).order_by(c.rule_id, c.version)):
        found.setdefault(row.rule_id, {})[row.version] = row.n
    return found


def _messages(connection: Connection) -> dict[str, int]:
    c = MESSAGE.c
    unsettled = and_(c.state == MessageState.UNKNOWN, c.ended_at.is_(None))
    counted = select(c.state, func.count()).where(or_(c.state.in_(OPEN), unsettled)).group_by(c.state)
    found = dict(connection.execute(counted).tuples().all())
    return {state.value: found[state] for state in (*OPEN, MessageState.UNKNOWN) if state in found}


def _files(app: App, in_force: Mapping[str, str]) -> Files:
    try:
        files = {rule.id: rule.terms.version for rule in rules_of(app).rules.values()}
    except RuleErrors as wrong:
        return Files(problems=[str(problem) for problem in wrong.problems if not problem.warning])
    return Files(
        new=sorted(files.keys() - in_force.keys()),
        changed=sorted(rule for rule in files.keys() & in_force.keys() if files[rule] != in_force[rule]),
        gone=sorted(in_force.keys() - files.keys()),
    )
