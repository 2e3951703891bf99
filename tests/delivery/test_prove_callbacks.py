"""PROOF callbacks: whatever is told, in any order, doubled, late or before our own answer, ends in one state each.

10,000 stories of one message each (``make prove``; some hundred in ``make test``), judged by rules written from the
documents and by each other: the same words must end the same. A reader looks after every step: no state goes back.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import zip_longest
from random import Random
from threading import Event as Flag
from threading import Thread

import pytest
from sqlalchemy import Engine, func, select, update

from messaging import receipts
from messaging.channels.base import Outcome, Sighting
from messaging.claims import Claim, attempt, message
from messaging.outbox import arm, claim, reap
from messaging.outcomes import TWILIO_MESSAGE_STATUSES
from messaging.recording import record_all
from messaging.told import Told, keep
from models.database import reading, writing
from models.vocabulary import MessageState, OutcomeClass
from tests.delivery.callback_plans import Act, Event, Story, Word, end, second_end, story
from tests.delivery.pages import World, world
from tests.integration.out_world import NOW, POLICY, plan_messages

RANK = {"accepted": 1, "sent": 2, "undelivered": 3, "delivered": 4}
BATCH = 100

Seen = tuple[int, int]
"""What a reader sees: how often it was sent again, and how much is known."""


@dataclass
class Watch:
    """A reader: keeps what it has seen of each message, and how often it saw a step back."""

    engine: Engine
    seen: dict[int, Seen] = field(default_factory=dict)
    steps_back: int = 0
    looks: int = 0

    def look(self, ids: Iterable[int]) -> dict[int, str]:
        """Read the states, and compare with the last look."""
        with reading(self.engine) as connection:
            rows = connection.execute(
                select(message.c.id, message.c.state, message.c.resends).where(message.c.id.in_(list(ids)))
            )
            states = {}
            for key, state, resends in rows:
                now = (resends, RANK.get(state, 0))
                self.steps_back += now < self.seen.get(key, (0, 0))
                self.seen[key], states[key] = now, state
        self.looks += 1
        return states


@dataclass(frozen=True)
class Actor:
    """One message of a story: its story, and its claims by try."""

    message_id: int
    story: Story
    claims: dict[int, Claim] = field(default_factory=dict)

    def sid(self, tries: int) -> str:
        return f"SM{self.message_id:024x}{tries:08x}"

    def sighting(self, event: Event) -> Sighting:
        state, code = read(event.word)
        return Sighting(self.sid(event.tries), state, code)

    def told(self, event: Event) -> Told:
        state, code = read(event.word)
        claim, sid = self.claims[event.tries], self.sid(event.tries)
        return Told(
            provider="twilio",
            kind="sms",
            provider_id=sid,
            attempt_id=claim.attempt_id,
            state=state,
            code=code,
            digest=f"{sid}/{event.word}/{event.mark}",
            address_hash=claim.address_hash,
        )


def read(word: Word) -> tuple[MessageState, str]:
    state = TWILIO_MESSAGE_STATUSES[word[0]]
    return state, word[1] or (word[0] if state is MessageState.UNDELIVERED else "")


def armed(engine: Engine, ids: Sequence[int], now: datetime) -> dict[int, Claim]:
    """Claim and arm messages as a dispatcher does, without one: nobody answers but the story."""
    with writing(engine) as connection:
        claimed = claim(connection, now, limit=len(ids), lease_seconds=60, policy=POLICY)
    claims = arm(engine, claimed.claims, now, lease_seconds=60, provider="twilio")
    assert {one.message_id for one in claims} == set(ids)
    return {one.message_id: one for one in claims}


def play(engine: Engine, watch: Watch, actors: Sequence[Actor], acts: Mapping[int, Act], now: datetime) -> None:
    """The first event of every act, then the second of every act ..., with a look after each transaction."""
    ids = [actor.message_id for actor in actors]
    for step in zip_longest(*(acts[key].events for key in ids)):
        pairs = [(actor, event) for actor, event in zip(actors, step, strict=True) if event is not None]
        with writing(engine) as connection:
            for actor, event in pairs:
                if event.kind == "told":
                    keep(connection, actor.told(event), now)
        watch.look(ids)
        with writing(engine) as connection:
            receipts.apply(connection, [actor.sighting(event) for actor, event in pairs if event.kind == "polled"], now)
        answers(engine, [(actor, event) for actor, event in pairs if event.kind == "answer"], now)
        watch.look(ids)


def answers(engine: Engine, pairs: Sequence[tuple[Actor, Event]], now: datetime) -> None:
    """Our own answers: the 201, a timeout, or a dispatcher that died and whose lease is over."""
    results = []
    for actor, event in pairs:
        if event.word[0] == "accepted":
            results.append((actor.claims[event.tries], Outcome(OutcomeClass.ACCEPTED, "201", actor.sid(event.tries))))
        elif event.word[0] == "unknown":
            results.append((actor.claims[event.tries], Outcome(OutcomeClass.UNKNOWN, "ReadTimeout")))
    record_all(engine, results, now)
    dead = [actor.claims[event.tries].attempt_id for actor, event in pairs if event.word[0] == "lost"]
    with writing(engine) as connection:
        connection.execute(update(attempt).where(attempt.c.id.in_(dead)).values(lease_until=now - timedelta(hours=1)))
    reap(engine, now)


@dataclass
class Count:
    """What was played, and what was wrong."""

    stories: int = 0
    events: int = 0
    before_us: int = 0
    resent: int = 0
    wrong: list[str] = field(default_factory=list)
    ends: dict[object, set[str]] = field(default_factory=lambda: defaultdict(set))
    by_state: Counter[str] = field(default_factory=Counter)

    def judge(self, actors: Sequence[Actor], states: Mapping[int, str], *, second: bool) -> None:
        """Compare each end with what it must be, and with the others of the same words."""
        for actor in actors:
            act = actor.story.second if second else actor.story.first
            due = second_end(act.words, act.answer) if second else end(act.words, act.answer)
            found = states[actor.message_id]
            if found != due:
                self.wrong.append(f"{found}, must be {due}: {act}")
            self.ends[second, act.words, act.answer if not act.words else ""].add(found)
            self.events += len(act.events)
            self.before_us += act.before_us


def prove(engine: Engine, stories: Sequence[Story], count: Count, batch: int = BATCH) -> Watch:
    """Play stories by calling the engine, a batch at a time."""
    watch = Watch(engine)
    for start in range(0, len(stories), batch):
        some = stories[start : start + batch]
        ids = plan_messages(engine, len(some))
        first = armed(engine, ids, NOW)
        actors = [Actor(key, one, {1: first[key]}) for key, one in zip(ids, some, strict=True)]
        play(engine, watch, actors, {actor.message_id: actor.story.first for actor in actors}, NOW)
        states = watch.look(ids)
        count.judge(actors, states, second=False)
        count.stories += len(actors)
        second_act(engine, watch, [actor for actor in actors if states[actor.message_id] == "queued"], count)
        count.by_state.update(watch.look(ids).values())
        with writing(engine) as connection:  # what was not sent again must not be claimed with the next batch
            connection.execute(
                update(message).where(message.c.state == "queued").values(due_at=NOW + timedelta(days=900))
            )
    return watch


def second_act(engine: Engine, watch: Watch, again: Sequence[Actor], count: Count) -> None:
    """Send again what may be, with what is told of both tries."""
    if not again:
        return
    ids = [actor.message_id for actor in again]
    with reading(engine) as connection:
        due = connection.execute(select(func.max(message.c.due_at)).where(message.c.id.in_(ids))).scalar_one()
    for key, one in armed(engine, ids, due).items():
        next(actor for actor in again if actor.message_id == key).claims[2] = one
    play(engine, watch, again, {actor.message_id: actor.story.second for actor in again}, due)
    count.judge(again, watch.look(ids), second=True)
    count.resent += len(again)


def over_http(here: World, stories: Sequence[Story], count: Count) -> Watch:
    """The first acts again over real HTTP, four at a time, while a reader looks all the while."""
    engine = here.app.engine
    ids = plan_messages(engine, len(stories))
    first = armed(engine, ids, NOW)
    actors = [Actor(key, one, {1: first[key]}) for key, one in zip(ids, stories, strict=True)]
    watch, over = Watch(engine), Flag()

    def watching() -> None:
        while not over.wait(0.005):
            watch.look(ids)

    def one_story(actor: Actor) -> None:
        for event in actor.story.first.events:
            if event.kind == "told":
                status, code = event.word
                more = {"ErrorCode": code} if code else {}
                claim = actor.claims[1]
                said = here.status(
                    claim.attempt_id, actor.sid(1), status, To=claim.address, Mark=f"{event.mark}", **more
                )
                assert said.status_code == 204, said.text
            elif event.kind == "polled":
                with writing(engine) as connection:
                    receipts.apply(connection, [actor.sighting(event)], NOW)
            else:
                answers(engine, [(actor, event)], NOW)

    reader = Thread(target=watching)
    reader.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one_story, actors))
    finally:
        over.set()
        reader.join()
    count.judge(actors, watch.look(ids), second=False)
    count.stories += len(actors)
    return watch


def nothing_wrong(count: Count, *watches: Watch) -> None:
    assert not count.wrong, f"{len(count.wrong)} wrong ends, such as: {count.wrong[:3]}"
    assert all(len(found) == 1 for found in count.ends.values())
    assert [watch.steps_back for watch in watches] == [0] * len(watches)
    assert all(watch.looks for watch in watches)


def test_stories_end_as_they_must(engine: Engine) -> None:
    dice, count = Random(4), Count()
    watch = prove(engine, [story(dice) for _ in range(BATCH)], count)
    nothing_wrong(count, watch)
    assert count.resent > 3
    assert count.before_us > 20
    assert set(count.by_state) >= {"accepted", "sent", "undelivered", "delivered", "queued", "unknown"}


def test_some_over_http(engine: Engine) -> None:
    dice, count = Random(5), Count()
    with world(engine) as here:
        watch = over_http(here, [story(dice) for _ in range(15)], count)
    nothing_wrong(count, watch)


def test_the_judge_would_notice() -> None:
    """Of 10,000 stories, enough tell words out of order for a judge that takes the last one to be wrong."""
    dice, fooled = Random(6), 0
    for _ in range(2000):
        act = story(dice).first
        told = [event.word for event in act.events if event.kind == "told"]
        fooled += bool(told) and TWILIO_MESSAGE_STATUSES[told[-1][0]].value != end(act.words, act.answer)
    assert fooled > 500


@pytest.mark.prove
@pytest.mark.parametrize("share", [5000])
def test_prove_ten_thousand(engine: Engine, share: int, capsys: pytest.CaptureFixture[str]) -> None:
    """5,000 on each database, 500 of them over real HTTP."""
    dice, count = Random(f"callbacks {engine.dialect.name}"), Count()
    watch = prove(engine, [story(dice) for _ in range(share - 500)], count, batch=5 * BATCH)
    with world(engine) as here:
        other = over_http(here, [story(dice) for _ in range(500)], count)
    figures = [
        f"{count.stories:,} stories (500 over HTTP)",
        f"{count.events:,} events",
        f"{len(count.ends):,} sets of words",
        f"{len(count.wrong)} wrong ends",
        f"{watch.steps_back + other.steps_back} steps back in {watch.looks + other.looks:,} looks",
        f"{count.before_us:,} told before or without our own answer",
        f"{count.resent:,} sent again",
    ]
    with capsys.disabled():
        print(f"\nPROOF callbacks {engine.dialect.name}: {', '.join(figures)}")
    nothing_wrong(count, watch, other)
