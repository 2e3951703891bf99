"""The demo's words: a few readable lines, or one JSON object."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from beforehand.runtime.demo import Watch
from beforehand.runtime.first_round import Round
from beforehand.runtime.house import Addresses
from beforehand.runtime.shop import Loaded
from models.vocabulary import REASON_TEXT

LANGUAGES = {"en": "English", "ar": "Arabic", "zh": "Chinese"}


def as_json(loaded: Loaded, found: Round, watch: Watch, addresses: Addresses) -> dict[str, Any]:
    """The figures of the demo as JSON values."""
    channels: dict[str, dict[str, int]] = {}
    for (channel, language), count in found.sent.items():
        channels.setdefault(channel, {})[language] = count
    return {
        "customers": loaded.tables.get("customers", {}).get("new", 0),
        "orders": loaded.tables.get("orders", {}).get("new", 0),
        "loaded": loaded.tables,
        "rejected_rows": loaded.rejected,
        "exposures": loaded.exposures,
        "rules": {rule.rule_id: _rule(rule) for rule in found.rules},
        "matched": found.matched,
        "planned": found.planned,
        "sent": {"total": sum(found.sent.values()), "by_channel": channels},
        "withheld": {reason.value: count for reason, count in found.withheld.items()},
        "waiting": found.waiting,
        "problems": found.problems,
        "seconds": watch.seconds,
        "addresses": {name: address for name, address in vars(addresses).items() if address},
    }


def _rule(rule: Any) -> dict[str, Any]:
    withheld = {reason.value: count for reason, count in rule.withheld.items()}
    return {name: value for name, value in vars(rule).items() if name != "rule_id"} | {"withheld": withheld}


def show_shop(console: Console, loaded: Loaded) -> None:
    """What was read in."""
    if not loaded.tables:
        return
    words = ("customers", "orders", "calls", "tickets")
    parts = [f"{loaded.tables[word]['new']:,} {word}" for word in words if word in loaded.tables]
    said = f"The sample shop is in: {', '.join(parts)}"
    console.print(
        f"{said}; {loaded.exposures:,} order lines touched by a known fault; {loaded.rejected:,} bad rows set aside."
    )


def show_round(console: Console, found: Round) -> None:
    """What the rules found, what was sent, and what was withheld and why."""
    console.print(_table(found, console.width))
    total = sum(found.sent.values())
    console.print(f"[bold]Sent {total:,}[/]: {', '.join(_channels(found.sent)) or 'nothing'}")
    if found.waiting:
        console.print(f"[bold]Waiting {found.waiting:,}[/]: for the end of quiet hours, or for the rule's own pause")
    if found.withheld:
        console.print(f"[bold]Withheld {sum(found.withheld.values()):,}[/]:")
        for reason, count in Counter(found.withheld).most_common():
            console.print(f"  {count:>6,}  {REASON_TEXT[reason]}")
    for problem in found.problems:
        console.print(f"[bold red]Problem:[/] {problem}", markup=True, highlight=False)


def _table(found: Round, width: int) -> Table:
    """One line a rule, whatever the terminal's width: the titles give way."""
    room = max(12, width - 64)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("rule", no_wrap=True)
    table.add_column("what it is for", no_wrap=True)
    for word in ("found", "sent", "waiting", "withheld"):
        table.add_column(word, justify="right", no_wrap=True)
    for rule in found.rules:
        counts = (rule.matched, rule.sent, rule.waiting, sum(rule.withheld.values()))
        title = rule.title if len(rule.title) <= room else f"{rule.title[: room - 1]}…"
        table.add_row(rule.rule_id, title, *(f"{count:,}" for count in counts))
    return table


def _channels(sent: Mapping[tuple[str, str], int]) -> list[str]:
    by_channel: dict[str, Counter[str]] = {}
    for (channel, language), count in sent.items():
        base = language.split("-")[0]
        by_channel.setdefault(channel, Counter())[LANGUAGES.get(base, base)] += count
    names = {"sms": "SMS", "voice": "calls", "email": "e-mails"}
    return [
        f"{counts.total():,} {names[channel]} ({', '.join(f'{count:,} {one}' for one, count in counts.most_common())})"
        for channel, counts in by_channel.items()
    ]


def show_end(console: Console, watch: Watch, addresses: Addresses | None) -> None:
    """How long it took, and where to look; None: everything ends now."""
    first, all_of_it = watch.seconds.get("first message"), watch.seconds["first round"]
    told = f"First message after {first} s, the" if first else "No new message; the"
    console.print(f"{told} whole round after {all_of_it} s.")
    if addresses is None:
        console.print("Everything ends now; without --once it stays, and shows where to look.")
        return
    console.print("Now open:")
    show_addresses(console, addresses)


def show_addresses(console: Console, addresses: Addresses) -> None:
    """Where to look."""
    if addresses.post_room:
        console.print(f"  What customers see   {addresses.post_room}", highlight=False)
    if addresses.pages:
        console.print(f"  Our own pages        {addresses.pages}", highlight=False)
    if addresses.staff:
        console.print(f"  For staff            {addresses.staff}", highlight=False)
    console.print(f"  What ran             {addresses.prefect}", highlight=False)
    console.print(f"  What runs next       {addresses.deployments}", highlight=False)
