"""SMTP: nine phases by four faults, 36 cells. The mail server's own ledger is the judge: never twice, never lost."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

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
            sender = sender_of(guarded, certificate, 0.4)
            assert sender.send(letter(reference, cell.text)).kind is cell.kind, cell
            guarded.faults.clear()
            assert _copies(guarded)[reference] == accepted, "the fault let through what it should not have"
            assert sender_of(guarded, certificate, 10).send(letter(reference, "x")).kind is OutcomeClass.ACCEPTED
            assert _copies(guarded)[reference] == accepted + 1


def _copies(room: PostRoom) -> Counter[str]:
    """How many copies of each mail the server has, by its Message-ID."""
    return Counter(entry.header("Message-ID").strip("<>").partition("@")[0] for entry in room.ledger.of("email"))


class Trial:
    """One cell on one database: all mails meet the fault, the server gets well, time goes on until all is decided."""

    def __init__(self, cell: Cell, engine: Engine, certificate: Path, accepted: bool) -> None:
        self.cell, self.engine, self.certificate, self.accepted = cell, engine, certificate, accepted
        self.before = {row.id for row in rows_of(engine)}
        self.copies: Counter[str] = Counter()
        self.faults = 0

    def run(self, room: PostRoom, service: int, marketing: int) -> None:
        plan_messages(self.engine, service, channel="email")
        plan_messages(self.engine, marketing, channel="email", purpose="marketing")
        tried = len(attempts_of(self.engine))
        room.faults.add(Fault("mail", self.cell.what, ALWAYS, phase=self.cell.phase, accepted=self.accepted))
        self._dispatch(room, 0.4, 0)
        room.faults.clear()
        kinds = {(a.outcome, a.state) for a in attempts_of(self.engine)[tried:] if a.armed_at is not None}
        assert {outcome for outcome, _ in kinds} == {self.cell.kind}, (self.cell, kinds)
        for minutes in (5, 20, 40, 65, 90, 190, 400):
            reap(self.engine, NOW + timedelta(minutes=minutes))
            channels = {Channel.EMAIL: sender_of(room, self.certificate, 20)}
            at = NOW + timedelta(minutes=minutes)
            settle(self.engine, channels, at, send_timeout=1, settle_after=timedelta(minutes=15))
            self._dispatch(room, 20, minutes)
        self.copies = _copies(room)

    def _dispatch(self, room: PostRoom, timeout: float, minutes: int) -> None:
        now = NOW + timedelta(minutes=minutes)
        channels = {Channel.EMAIL: sender_of(room, self.certificate, timeout)}
        text = self.cell.text if minutes == 0 else "Your order is late."

        def envelopes(claims: Sequence[Claim]) -> dict[int, Envelope]:
            return {c.message_id: Envelope(c.attempt_id, c.reference, c.address, text, subject="Late") for c in claims}

        dispatch(self.engine, lambda: now, channels, envelopes, Plan(POLICY))

    def wrong(self) -> list[str]:
        """What is not as the table says, mail by mail; empty where the cell is right."""
        mine = [row for row in rows_of(self.engine) if row.id not in self.before]
        found = []
        for row in mine:
            has = (row.state, row.reason, self.copies[row.reference])
            if has != self._right(row.purpose):
                found.append(
                    f"{self.cell.phase} {self.cell.fault}: {row.purpose} is {has}, not {self._right(row.purpose)}"
                )
        return found

    def _right(self, purpose: str) -> tuple[str, str | None, int]:
        if self.cell.right == "given-up":
            return "failed", "refused", 0
        if self.cell.right == "unknown" and purpose == "marketing":
            return "unknown", "gave_up", int(self.accepted)
        return "accepted", None, 1 + (self.cell.right == "unknown" and self.accepted)


@pytest.mark.prove
def test_every_cell_is_right_and_the_ledger_says_so(
    sqlite_engine: Engine, postgres_engine: Engine, certificate: Path
) -> None:
    right = mails = window = again = 0
    wrong: list[str] = []
    for cell in cells():
        of_cell: list[str] = []
        for engine in (sqlite_engine, postgres_engine):
            for accepted in cell.hidden:
                many = (3, 1) if cell.phase == "body" else (16, 4)
                with guarded_room(certificate) as room:
                    trial = Trial(cell, engine, certificate, accepted)
                    trial.run(room, *many)
                    of_cell += trial.wrong()
                mails += sum(many)
                window += sum(many) if cell.right == "unknown" else 0
                again += sum(copies > 1 for copies in trial.copies.values())
        right += not of_cell
        wrong += of_cell
    print(
        f"\nPROOF smtp: {right} of 36 cells right, {mails} mails on SQLite and PostgreSQL: 0 twice without a policy, "
        f"0 lost; {window} faults after the dot (the dangerous window), of which {again} came a second time by the "
        "written policy, under the same Message-ID"
    )
    assert not wrong, "\n".join(wrong)
    assert right == 36
