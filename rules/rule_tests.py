"""Reads the ``tests`` of a rule file: who is there, what time it is, and what the rule then does.

Everything that can be known without running a test is refused here, with its place: an unknown fact in ``given``, an
unknown reason, a test that asserts nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta

from dateutil.relativedelta import relativedelta

from models.terms import Money
from models.vocabulary import Channel, Reason
from rules.errors import listing
from rules.facts import Subject
from rules.reader import Complaints, Node
from rules.schema import CHANNELS, EXPECT_KEYS, EXPECTED_STEP_KEYS, STAGE_KEYS, TEST_KEYS
from rules.shorthand import Frame, Shorthand, Story, frame
from rules.values import DAY_WORDS, DURATION_FORM, MONEY_FORM, WEEKDAYS, duration, money

EXPECT_FORM = "nothing, {withheld: REASON} or a list of steps such as [{send: late-order, by: sms}]"
AT_FORM = "such as 07:00, tomorrow 07:00, monday 07:00 or 2026-03-11 07:00"
AT = re.compile(r"(?:(\S+)[ T])?(\d{1,2}):(\d{2})", re.IGNORECASE)


@dataclass(frozen=True)
class At:
    """When a message goes, where its customer lives: a time of day, and perhaps a day."""

    clock: time
    day: date | None = None
    text: str = ""


@dataclass(frozen=True)
class Expected:
    """One thing that shall happen. ``verb`` is send, call, survey, voucher, task or webhook; ``what`` its own word.

    What is None is not asked. ``says``: texts that must stand in the message.
    """

    verb: str
    what: str
    by: Channel | None = None
    at: At | None = None
    says: tuple[str, ...] = ()
    language: str | None = None
    worth: Money | None = None
    desk: str | None = None


@dataclass(frozen=True)
class Stage:
    """What a test expects: after how long (None: at once), and either steps, or why there are none.

    Without steps and without ``withheld`` nothing shall happen.
    """

    after: relativedelta | None
    steps: tuple[Expected, ...] = ()
    withheld: Reason | None = None
    place: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class RuleTest:
    """One test of a rule. ``undelivered`` are the channels on which nothing gets through."""

    name: str
    at: Frame
    story: Story
    stages: tuple[Stage, ...]
    undelivered: frozenset[Channel] = frozenset()
    place: tuple[int, int] = (1, 1)

    @property
    def sends(self) -> bool:
        """Whether it expects anything to happen."""
        return any(stage.steps for stage in self.stages)


def read_tests(node: Node, subjects: Mapping[str, Subject], said: Complaints) -> tuple[RuleTest, ...]:
    """Read the list under ``tests``; everything wrong is noted in ``said``."""
    if not node.is_list:
        said.add(node, "'tests' is a list", expected="- name: ...")
        return ()
    found: dict[str, RuleTest] = {}
    for member in node.value:
        test = _test(member, subjects, said)
        if test is not None and test.name in found:
            said.add(member.value["name"], f"two tests are called '{test.name}'", expected="a name of its own")
        if test is not None:
            found[test.name] = test
    return tuple(found.values())


def _test(node: Node, subjects: Mapping[str, Subject], said: Complaints) -> RuleTest | None:
    if not node.is_map:
        said.add(node, "a test is a mapping", expected=listing(TEST_KEYS))
        return None
    for key in node.value:
        if key not in TEST_KEYS:
            said.unknown(node.keys[key], "key of a test", key, [*TEST_KEYS])
    for key in ("name", "now", "expect"):
        if key not in node.value:
            said.add(node, f"a test needs '{key}'", expected=TEST_KEYS[key])
    name = node.get("name")
    if name is not None and (not isinstance(name.value, str) or not name.value.strip()):
        said.add(name, "'name' needs a text", expected=TEST_KEYS["name"])
    at = frame(node.value["now"], said) if "now" in node.value else frame(Node("2000-01-01", 1, 1), said)
    story = Shorthand(subjects, at, said).story(node.get("given") or Node({}, node.line, node.column))
    stages = _stages(node, at, said)
    away = frozenset(_channel(each, said) for each in _several(node.get("undelivered")))
    shown = str(name.value) if name is not None else ""
    return RuleTest(shown, at, story, stages, away, (node.line, node.column))


def _several(node: Node | None) -> list[Node]:
    if node is None:
        return []
    return list(node.value) if node.is_list else [node]


def _stages(node: Node, at: Frame, said: Complaints) -> tuple[Stage, ...]:
    stages = [_stage(node, at, said)] if "expect" in node.value else []
    later = node.get("then")
    if later is not None and (not later.is_list or not later.value):
        said.add(later, "'then' is a list of later looks", expected="- {after: 2 days, expect: nothing}")
    for member in _several(later) if later is not None and later.is_list else []:
        for key, _ in member.items():
            if key not in STAGE_KEYS:
                said.unknown(member.keys[key], "key of a later look", key, [*STAGE_KEYS])
        missing = [key for key in STAGE_KEYS if not member.is_map or key not in member.value]
        if missing:
            said.add(member, f"a later look needs '{missing[0]}'", expected="{after: 2 days, expect: nothing}")
        else:
            stages.append(_stage(member, at, said))
    return tuple(stages)


def _stage(node: Node, at: Frame, said: Complaints) -> Stage:
    after, expect = node.get("after"), node.value["expect"]
    lasts = duration(after.value) if after is not None else None
    if after is not None and lasts is None:
        said.add(after, f"'{after.plainly()}' is not a duration", expected=DURATION_FORM)
    place = (expect.line, expect.column)
    if expect.value == "nothing":
        return Stage(lasts, place=place)
    if expect.is_map and "withheld" in expect.value:
        return Stage(lasts, withheld=_reason(expect, said), place=place)
    if not (expect.is_map or expect.is_list) or not expect.value:
        said.add(expect, "a test that expects neither something nor nothing asserts nothing", expected=EXPECT_FORM)
        return Stage(lasts, place=place)
    steps = (_step(member, at, said) for member in _several(expect))
    return Stage(lasts, tuple(step for step in steps if step is not None), place=place)


def _reason(expect: Node, said: Complaints) -> Reason | None:
    for key in expect.value:
        if key != "withheld":
            said.unknown(expect.keys[key], "word beside 'withheld'", key, ["withheld"])
    node, known = expect.value["withheld"], [reason.value for reason in Reason]
    if node.value not in known:
        said.unknown(node, "reason", str(node.plainly()), known)
        return None
    return Reason(node.value)


def _step(node: Node, at: Frame, said: Complaints) -> Expected | None:
    verbs = [key for key in EXPECTED_STEP_KEYS if node.is_map and key in node.value]
    if len(verbs) != 1:
        first = next(iter(node.value), "") if node.is_map else ""
        if first and not verbs:
            said.unknown(node.keys[first], "step", first, [*EXPECTED_STEP_KEYS])
        else:
            said.add(node, "an expected step is one thing that happens", expected=listing(EXPECTED_STEP_KEYS))
        return None
    verb = verbs[0]
    for key in node.value:
        if key not in EXPECTED_STEP_KEYS[verb]:
            said.unknown(node.keys[key], f"word beside '{verb}'", key, [*EXPECTED_STEP_KEYS[verb]])
    what = node.value[verb]
    if not isinstance(what.value, str) or not what.value.strip():
        said.add(what, f"'{verb}' needs a text", expected=EXPECT_KEYS[verb])
        return None
    return Expected(
        verb,
        what.value.strip(),
        by=Channel.VOICE if verb == "call" else _channel(node.value["by"], said) if "by" in node.value else None,
        at=_at(node.value["at"], at, said) if "at" in node.value else None,
        says=tuple(str(each.value) for each in _several(node.get("says"))),
        language=str(node.value["language"].value) if "language" in node.value else None,
        worth=_worth(what, said) if verb == "voucher" else None,
        desk=str(node.value["to"].value) if "to" in node.value else None,
    )


def _channel(node: Node, said: Complaints) -> Channel:
    if node.value not in CHANNELS:
        said.unknown(node, "channel", str(node.plainly()), [*CHANNELS])
        return Channel.SMS
    return Channel(node.value)


def _worth(node: Node, said: Complaints) -> Money | None:
    worth = money(node.value)
    if worth is None:
        said.add(node, f"'{node.value}' is no amount", expected=MONEY_FORM)
    return worth


def _at(node: Node, at: Frame, said: Complaints) -> At | None:
    found = AT.fullmatch(str(node.value).strip())
    if found and int(found[2]) < 24 and int(found[3]) < 60:
        clock = time(int(found[2]), int(found[3]))
        day = _day((found[1] or "").lower(), at)
        if day is not None or not found[1]:
            return At(clock, day, str(node.value).strip())
    said.add(node, f"'{node.plainly()}' is not a time at which a message goes", expected=AT_FORM)
    return None


def _day(word: str, at: Frame) -> date | None:
    """The calendar day that a word names, seen from the test's now; a day of the week is the next one to come."""
    today = at.now.astimezone(at.zone).date()
    if word in DAY_WORDS:
        return today + timedelta(days=DAY_WORDS[word])
    if word in WEEKDAYS:
        return today + timedelta(days=(WEEKDAYS.index(word) - today.weekday()) % 7)
    try:
        return date.fromisoformat(word)
    except ValueError:
        return None
