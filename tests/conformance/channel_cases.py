"""The cases that every channel must pass: inherit, say how to build the channel, and all of them are run.

A channel tries once, never raises for what a provider does, says what is known afterwards, and no more. The judge is
what the other side has on record.
"""

import threading
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta

import pytest

from beforehand.web.postroom import Fault, PostRoom
from beforehand.web.postroom.faults import KINDS, Place, What
from messaging.channels.base import Channel as Way
from messaging.channels.base import Envelope
from models.vocabulary import Channel, OutcomeClass
from tests.conformance.raw_servers import RawServer, nobody_listens

TEXT = "Your order 7731 is late, dear Anna."
TIMEOUT = 0.5
NOISE = [b"", b"\x00\xff\xfe", b"HTTP/1.1 \r\n\r\n", b"250-\r\n" * 3, b"{" * 10_000, b"\r\n" * 5000, b"201\r\n"]


class ChannelCases(ABC):
    """``name``, ``place`` (where the post room's faults meet it), ``lists`` (whether the provider keeps a listing)."""

    name: Channel
    place: Place
    lists: bool
    address: str

    @abstractmethod
    def channel(self, host: str, port: int, timeout: float) -> Way:
        """The channel, pointed at an address at which anything may be."""

    @abstractmethod
    def of_room(self, room: PostRoom, timeout: float = 5) -> Way:
        """The channel, pointed at a post room."""

    def letter(self, to: str = "", text: str = TEXT) -> Envelope:
        """One message."""
        return Envelope(attempt_id=7, reference="7K2M9QXC", to=to or self.address, text=text, subject="Late")

    def test_it_says_its_name_and_how_many_at_once(self) -> None:
        way = self.channel("127.0.0.1", 9, TIMEOUT)
        assert way.name is self.name
        assert way.provider
        assert way.parallel >= 1

    def test_what_is_accepted_is_there_once_and_named(self) -> None:
        with PostRoom() as room:
            got = self.of_room(room).send(self.letter())
            (entry,) = room.ledger.of(self.name)
        assert got.kind is OutcomeClass.ACCEPTED
        assert TEXT in entry.body
        assert entry.to == self.address
        assert got.provider_id == (entry.sid if self.lists else None)

    def test_many_threads_share_one_channel_and_mix_nothing_up(self) -> None:
        with PostRoom() as room:
            way, seen = self.of_room(room, 20), {}

            def send(n: int) -> None:
                seen[n] = way.send(self.letter(text=f"number {n} of many"))

            threads = [threading.Thread(target=send, args=(n,)) for n in range(24)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            way.close()
            assert {got.kind for got in seen.values()} == {OutcomeClass.ACCEPTED}
            said = {entry.sid: entry.body for entry in room.ledger.of(self.name)}
            assert len(said) == 24
            if self.lists:
                assert all(f"number {n} of many" in said[str(got.provider_id)] for n, got in seen.items())

    def test_it_can_be_closed_and_goes_on(self) -> None:
        with PostRoom() as room:
            way = self.of_room(room)
            for n in range(3):
                assert way.send(self.letter(text=f"text {n}")).kind is OutcomeClass.ACCEPTED
                way.close()
                way.close()
            assert len(room.ledger.of(self.name)) == 3

    def test_where_nobody_listens_nothing_was_accepted_and_all_stops(self) -> None:
        got = self.channel("127.0.0.1", nobody_listens(), TIMEOUT).send(self.letter())
        assert (got.kind, got.stops) == (OutcomeClass.NOT_ACCEPTED, True)

    def test_a_name_that_does_not_resolve_is_not_accepted(self) -> None:
        got = self.channel("nobody.invalid", 80, TIMEOUT).send(self.letter())
        assert (got.kind, got.stops) == (OutcomeClass.NOT_ACCEPTED, True)

    def test_what_is_put_off_is_not_accepted(self) -> None:
        with PostRoom(faults=[Fault(self.place, "busy")]) as room:
            way = self.of_room(room)
            assert way.send(self.letter()).kind is OutcomeClass.NOT_ACCEPTED
            assert not room.entries
            assert way.send(self.letter()).kind is OutcomeClass.ACCEPTED

    @pytest.mark.parametrize("accepted", [True, False])
    @pytest.mark.parametrize("what", ["hang", "drop"])
    def test_without_an_answer_nobody_knows(self, what: What, accepted: bool) -> None:
        with PostRoom(faults=[Fault(self.place, what, accepted=accepted, seconds=0.8)]) as room:
            began = time.monotonic()
            got = self.of_room(room, TIMEOUT).send(self.letter())
            assert time.monotonic() - began < 2, "a send has an end"
            assert got.kind is OutcomeClass.UNKNOWN
            assert got.provider_id is None
            assert len(room.entries) == accepted, "one send is one try: a second one is a second message"

    @pytest.mark.parametrize("what", ["drop", "hang", "error", "bad_gateway", "truncate", "garbage"])
    def test_evidence_is_found_or_is_said_to_be_none(self, what: What) -> None:
        if what not in KINDS[self.place]:
            return
        taken = self.lists or what != "error"  # a mail server that says no has not taken it
        with PostRoom(faults=[Fault(self.place, what, accepted=taken, seconds=0.8)]) as room:
            way, began = self.of_room(room, TIMEOUT), datetime.now(UTC)
            way.send(self.letter())
            found = way.find(self.address, way.fingerprint(self.letter()), began, datetime.now(UTC))
            if not self.lists:
                assert found is None
                return
            assert found is not None
            assert [one.provider_id for one in found] == [entry.sid for entry in room.entries]

    def test_absence_is_told_from_silence(self) -> None:
        if not self.lists:
            return
        now = datetime.now(UTC)
        with PostRoom() as room:
            way = self.of_room(room)
            assert way.find(self.address, way.fingerprint(self.letter()), now - timedelta(hours=1), now) == []
            for what in ("error", "garbage", "drop"):
                room.faults.add(Fault("listing", what))
                assert way.find(self.address, way.fingerprint(self.letter()), now, now) is None

    @pytest.mark.parametrize("noise", NOISE)
    def test_noise_is_an_outcome_and_no_error(self, noise: bytes) -> None:
        def talk(server: RawServer, connection: object) -> None:
            connection.sendall(noise)  # type: ignore[attr-defined]
            connection.settimeout(0.3)  # type: ignore[attr-defined]
            server.took.append(connection.recv(65536))  # type: ignore[attr-defined]

        with RawServer(talk) as server:
            began = time.monotonic()
            got = self.channel("127.0.0.1", server.port, TIMEOUT).send(self.letter())
            assert time.monotonic() - began < 3
        assert got.kind in (OutcomeClass.UNKNOWN, OutcomeClass.NOT_ACCEPTED)
        assert got.provider_id is None

    def test_nothing_that_names_a_person_is_kept_as_evidence(self) -> None:
        with PostRoom() as room:
            for what in KINDS[self.place]:
                room.faults.add(Fault(self.place, what, seconds=0.01))
                got = self.of_room(room).send(self.letter())
                assert self.address not in str(got)
                assert "Anna" not in str(got)

    def test_a_fingerprint_knows_its_message_again_and_no_other_address(self) -> None:
        way = self.channel("127.0.0.1", 9, TIMEOUT)
        assert way.fingerprint(self.letter()) == way.fingerprint(self.letter())
        assert way.fingerprint(self.letter()) != way.fingerprint(self.letter(to=f"x{self.address}"))
        assert len(way.fingerprint(self.letter())) == 32

    def test_to_ask_for_nothing_asks_for_nothing(self) -> None:
        assert self.channel("127.0.0.1", nobody_listens(), TIMEOUT).look([]) == []

    def test_a_status_that_cannot_be_had_is_left_out(self) -> None:
        assert self.channel("127.0.0.1", nobody_listens(), TIMEOUT).look(["SM" + "0" * 32]) == []
