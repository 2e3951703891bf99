"""SMTP: nine phases by four faults, 36 cells. The mail server's own ledger is the judge: never twice, never lost."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Row

from beforehand.web.postroom import Fault, PostRoom
from messaging.channels.base import Envelope
from messaging.claims import Claim
from messaging.dispatch import Plan, dispatch
from messaging.outbox import reap
from messaging.unknown import settle
from models.vocabulary import Channel, OutcomeClass
from tests.conformance.certificates import certificate_in
from tests.delivery.mail_cells import FAULTS, Cell, cells, guarded_room, sender_of
from tests.integration.out_world import NOW, POLICY, attempts_of, plan_messages, rows_of

ALWAYS = 1_000_000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def guarded(certificate: Path) -> Iterator[PostRoom]:
    with guarded_room(certificate) as room:
        yield room


def letter(reference: str, text: str) -> Envelope:
    return Envelope(attempt_id=7, reference=reference, to="a@kunde.example", subject="Late", text=text)


@pytest.mark.parametrize("fault", list(FAULTS))
def test_each_phase_that_fails_is_classed_as_the_table_says(guarded: PostRoom, certificate: Path, fault: str) -> None:
    for cell in [cell for cell in cells() if cell.fault == fault]:
        for accepted in cell.hidden:
            reference = f"{cell.phase}{fault}{accepted:d}"
            guarded.faults.add(Fault("mail", cell.what, ALWAYS, phase=cell.phase, accepted=accepted))
            sender = sender_of(guarded, certificate, *cell.waits)
            assert sender.send(letter(reference, cell.text)).kind is cell.kind, cell
            guarded.faults.clear()
            assert _copies(guarded)[reference] == accepted, "the fault let through what it should not have"
            assert sender_of(guarded, certificate).send(letter(reference, "x")).kind is OutcomeClass.ACCEPTED
            assert _copies(guarded)[reference] == accepted + 1


def _copies(room: PostRoom) -> Counter[str]:
    """How many copies of each mail the server has, by its Message-ID."""
    return Counter(entry.header("Message-ID").strip("<>").partition("@")[0] for entry in room.ledger.of("email"))


class Trial:
    """One cell on one database: all mails meet the fault, the server gets well, time goes on until all is decided."""

    def __init__(self, cell: Cell, engine: Engine, certificate: Path, accepted: bool) -> None:
        self.cell, self.engine, self.certificate, self.accepted = cell, engine, certificate, accepted
        self.mine: list[int] = []
        self.copies: Counter[str] = Counter()
        self.faults = 0

    def run(self, room: PostRoom, service: int, marketing: int) -> None:
        self.mine += plan_messages(self.engine, service, channel="email")
        self.mine += plan_messages(self.engine, marketing, channel="email", purpose="marketing")
        tried = len(attempts_of(self.engine))
        room.faults.add(Fault("mail", self.cell.what, ALWAYS, phase=self.cell.phase, accepted=self.accepted))
        self._dispatch(room, self.cell.waits, 0)
        room.faults.clear()
        kinds = {(a.outcome, a.state) for a in attempts_of(self.engine)[tried:] if a.armed_at is not None}
        assert {outcome for outcome, _ in kinds} == {self.cell.kind}, (self.cell, kinds)
        for minutes in (5, 20, 40, 65, 90, 190, 400):
            reap(self.engine, NOW + timedelta(minutes=minutes))
            channels = {Channel.EMAIL: sender_of(room, self.certificate)}
            at = NOW + timedelta(minutes=minutes)
            settle(self.engine, channels, at, send_timeout=1, settle_after=timedelta(minutes=15))
            self._dispatch(room, (60, 60), minutes)
        self.copies = _copies(room)

    def _dispatch(self, room: PostRoom, waits: tuple[float, float], minutes: int) -> None:
        now = NOW + timedelta(minutes=minutes)
        channels = {Channel.EMAIL: sender_of(room, self.certificate, *waits)}
        text = self.cell.text if minutes == 0 else "Your order is late."

        def envelopes(claims: Sequence[Claim]) -> dict[int, Envelope]:
            return {c.message_id: Envelope(c.attempt_id, c.reference, c.address, text, subject="Late") for c in claims}

        dispatch(self.engine, lambda: now, channels, envelopes, Plan(POLICY))

    def wrong(self) -> list[str]:
        """What is not as the table says, mail by mail; empty where the cell is right."""
        found = []
        for row in self._mine():
            has = (row.state, row.reason, self.copies[row.reference])
            if has != self._right(row.purpose):
                found.append(
                    f"{self.cell.phase} {self.cell.fault}: {row.purpose} is {has}, not {self._right(row.purpose)}"
                )
        return found

    @property
    def twice(self) -> int:
        """Mails that came more often than the policy has it."""
        return sum(self.copies[row.reference] > max(1, self._right(row.purpose)[2]) for row in self._mine())

    @property
    def lost(self) -> int:
        """Mails that are nowhere, and of which nothing says so."""
        spoken_of = ("failed", "unknown")
        return sum(self.copies[row.reference] == 0 and row.state not in spoken_of for row in self._mine())

    def _mine(self) -> list[Row[Any]]:
        return rows_of(self.engine, self.mine)

    def _right(self, purpose: str) -> tuple[str, str | None, int]:
        if self.cell.right == "given-up":
            return "failed", "bad_address" if self.cell.phase == "rcpt" else "refused", 0
        if self.cell.right == "unknown" and purpose == "marketing":
            return "unknown", "gave_up", int(self.accepted)
        return "accepted", None, 1 + (self.cell.right == "unknown" and self.accepted)


@pytest.mark.prove
def test_every_cell_is_right_and_the_ledger_says_so(
    sqlite_engine: Engine, postgres_engine: Engine, certificate: Path
) -> None:
    count: Counter[str] = Counter()
    wrong: list[str] = []
    for cell in cells():
        trials = [
            _tried(cell, engine, certificate, accepted)
            for engine in (sqlite_engine, postgres_engine)
            for accepted in cell.hidden
        ]
        of_cell = [line for trial in trials for line in trial.wrong()]
        wrong += of_cell
        count["right"] += not of_cell
        for trial in trials:
            mails = sum(_many(cell))
            count.update(mails=mails, window=mails * (cell.right == "unknown"), twice=trial.twice, lost=trial.lost)
            count["again"] += sum(copies > 1 for copies in trial.copies.values())
    print(
        f"\nPROOF smtp: {count['right']} of 36 cells right, {count['mails']} mails on SQLite and PostgreSQL: "
        f"{count['twice']} twice without a policy, {count['lost']} lost; {count['window']} faults after the dot (the "
        f"dangerous window), of which {count['again']} came again by the written policy, under the same Message-ID"
    )
    assert not wrong, "\n".join(wrong)
    assert (count["right"], count["twice"], count["lost"]) == (36, 0, 0)


def _many(cell: Cell) -> tuple[int, int]:
    """How many service and marketing mails: few where each has ten million letters."""
    return (2, 1) if cell.phase == "body" else (16, 4)


def _tried(cell: Cell, engine: Engine, certificate: Path, accepted: bool) -> Trial:
    with guarded_room(certificate) as room:
        trial = Trial(cell, engine, certificate, accepted)
        trial.run(room, *_many(cell))
    return trial
