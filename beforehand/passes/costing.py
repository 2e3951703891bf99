"""The cost of messages that are planned or would be: exact for few, from a spread sample of real renderings beyond."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    Subquery,
    and_,
    false,
    func,
    literal,
    null,
    or_,
    select,
)

from beforehand.passes.house import brand_of, templates_of
from beforehand.settings import Settings
from beforehand.wiring import App
from messaging.candidates import customer
from messaging.context import Item, contexts_for
from messaging.costs import Cost, Counted, Prices, add_up, country_of, worth
from messaging.rendering import RenderingError
from messaging.segments import count as count_segments
from messaging.whereabouts import LONGEST_PREFIX
from models.terms import Money, Send, Terms, VoucherStep, after
from models.vocabulary import Channel

SAMPLE = 200
"""How many SMS are filled to count their segments; beyond it, the cost is an estimate from so many."""

LEAST = 5
"""How many of each template and language are filled at least."""


GOLDEN = 2_654_435_769
"""2**32 divided by the golden ratio."""


class _Kind(NamedTuple):
    """Messages that are alike: their segments are estimated together."""

    channel: str
    template: str
    language: str | None


def prices_of(settings: Settings) -> Prices:
    """What the providers charge, from the settings."""
    return Prices(
        settings.currency, settings.sms_price, settings.call_price, settings.email_price, dict(settings.sms_prices)
    )


def cost_of(
    app: App,
    connection: Connection,
    planned: Select[Any],
    terms: Terms,
    *,
    vouchers: Sequence[Money] = (),
    now: datetime | None = None,
) -> Cost:
    """What the messages ``planned`` cost, and ``vouchers`` beside them; reads only.

    ``planned`` has one row a message: customer_id, subject_id, channel, template, language, facts, and ``address``
    where it is known (else the customer's phone number tells the country). Rows without a channel are left out.
    ``now`` (default: the app's clock) is from when a voucher in the text is valid.
    """
    rows = planned.subquery("planned")
    prices = prices_of(app.settings)
    kinds = _counted(connection, rows, by_country=bool(prices.sms_by_country))
    sms = {kind: sum(counts.values()) for kind, counts in kinds.items() if kind.channel == Channel.SMS}
    chosen = _chosen(rows, _quotas(sms))
    texts = _segments(app, connection, chosen, terms, now or app.clock()) if sms else []
    of_sms = sum(sms.values())
    if len(texts) == of_sms:
        parts = [Counted(Channel.SMS, 1, Decimal(size or 0), country) for _kind, country, size in texts]
    else:
        parts = list(_estimated(kinds, texts))
    others = {kind: counts for kind, counts in kinds.items() if kind not in sms}
    parts += [Counted(Channel(kind.channel), n) for kind, counts in others.items() for n in counts.values()]
    unfilled = sum(size is None for _kind, _country, size in texts)
    return Cost(prices.currency, add_up(parts, prices), worth(vouchers), of_sms, len(texts), unfilled)


def _phone(rows: Subquery) -> ColumnElement[Any]:
    return rows.c.address if "address" in rows.c else customer.c.phone


def _counted(connection: Connection, rows: Subquery, *, by_country: bool) -> dict[_Kind, dict[str | None, int]]:
    """How many there are of each kind, by country where the price depends on it: one statement over all."""
    # Numbers with the same first digits are in the same country, so that one of them tells it.
    prefix = func.substr(_phone(rows), 1, LONGEST_PREFIX + 1) if by_country else null()
    shown = select(
        rows.c.channel, rows.c.template, rows.c.language, prefix.label("prefix"), _phone(rows).label("phone")
    )
    joined = shown.outerjoin_from(rows, customer, customer.c.id == rows.c.customer_id)
    listed = joined.where(rows.c.channel.is_not(None)).subquery()
    alike = (listed.c.channel, listed.c.template, listed.c.language)
    statement = select(*alike, func.min(listed.c.phone), func.count()).group_by(*alike, listed.c.prefix)
    found: dict[_Kind, dict[str | None, int]] = defaultdict(lambda: defaultdict(int))
    for channel, template, language, phone, count in connection.execute(statement):
        country = country_of(phone) if by_country and channel == Channel.SMS else None
        found[_Kind(channel, template, language)][country] += count
    return found


def _quotas(sms: dict[_Kind, int]) -> dict[_Kind, int]:
    """How many of each kind to fill: all of few, else its share of the sample."""
    total = sum(sms.values())
    if total <= SAMPLE:
        return sms
    return {kind: min(there, max(LEAST, SAMPLE * there // total)) for kind, there in sms.items()}


def _segments(
    app: App, connection: Connection, chosen: Select[Any], terms: Terms, now: datetime
) -> list[tuple[_Kind, str | None, int | None]]:
    """Fill the chosen SMS for real: kind, country and segments of each; None where the template could not be filled."""
    found = connection.execute(chosen).all()
    contexts = contexts_for(connection, [_item(terms, row, now) for row in found], brand=brand_of(app.settings))
    templates = templates_of(app)
    texts: list[tuple[_Kind, str | None, int | None]] = []
    for row, context in zip(found, contexts, strict=True):
        size = None
        with suppress(RenderingError):  # its number is told; the preview's samples say which template and why
            size = count_segments(templates.render(row.template, Channel.SMS, row.language, context).text).segments
        texts.append((_Kind(row.channel, row.template, row.language), country_of(row.phone), size))
    return texts


def _chosen(rows: Subquery, quotas: dict[_Kind, int]) -> Select[Any]:
    """So many SMS of each kind, spread over all and always the same: by the fractions of id x golden ratio.

    Knuth, The Art of Computer Programming 3, section 6.4: they spread evenly, and share no period with the data.
    """
    alike = (rows.c.channel, rows.c.template, rows.c.language)
    spread = rows.c.subject_id * literal(GOLDEN, BigInteger()) % literal(2**32, BigInteger())
    turn = func.row_number().over(partition_by=alike, order_by=(spread, rows.c.customer_id))
    listed = select(rows, turn.label("turn")).where(rows.c.channel == Channel.SMS.value).subquery("listed")
    mine = [
        and_(
            listed.c.template == kind.template,
            listed.c.language.is_not_distinct_from(kind.language),
            listed.c.turn <= many,
        )
        for kind, many in quotas.items()
    ]
    known = select(listed, _phone(listed).label("phone"))
    return known.outerjoin_from(listed, customer, customer.c.id == listed.c.customer_id).where(or_(false(), *mine))


def _item(terms: Terms, row: Row[Any], now: datetime) -> Item:
    """The message as it would be filled: with the voucher that a step before it reserves, and its survey."""
    voucher, send = None, None
    for step in terms.steps:
        if isinstance(step, VoucherStep):
            voucher = step
        elif isinstance(step, Send) and row.template in (step.template, step.otherwise and step.otherwise.template):
            send = step
            break
    return Item(
        customer_id=row.customer_id,
        subject=terms.subject,
        subject_id=row.subject_id,
        facts=row.facts or {},
        purpose=terms.purpose.value,
        worth=voucher.worth if voucher else None,
        valid_until=after(now, voucher.valid_for) if voucher else None,
        survey=send.survey if send else None,
    )


def _estimated(
    kinds: dict[_Kind, dict[str | None, int]], texts: Sequence[tuple[_Kind, str | None, int | None]]
) -> Iterator[Counted]:
    """Each kind with the mean of its sample; what could not be filled would not go, and costs nothing."""
    sizes: dict[_Kind, list[int]] = defaultdict(list)
    for kind, _country, size in texts:
        sizes[kind].append(size or 0)
    for kind, known in sizes.items():
        mean = Decimal(sum(known)) / Decimal(len(known))
        yield from (Counted(Channel.SMS, count, mean, country) for country, count in kinds[kind].items())
