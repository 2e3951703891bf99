"""One message as a customer would get it, for previews and replays."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row

from beforehand.passes.house import templates_of
from beforehand.passes.reports import Sample
from beforehand.wiring import App
from messaging.quiet import zones_in
from messaging.rendering import RenderingError
from messaging.segments import count as count_segments
from models.vocabulary import Channel
from rules.because import because
from rules.loader import Rule


def sample_of(
    app: App, rule: Rule, row: Row[Any], context: dict[str, Any], *, due_at: datetime, decided_at: datetime
) -> Sample:
    """Fill the message of ``row`` with ``context``; where that fails, the sample says why (``problem``).

    ``row`` has subject_id, external_id (the subject's), customer (its external id), channel, template, language, zone
    and facts. ``decided_at`` is the moment from which the facts are told.
    """
    home = app.settings.time_zone
    said: dict[str, Any] = {"language": row.language}
    try:
        rendered = templates_of(app).render(row.template, Channel(row.channel), row.language, context)
        said = {"language": rendered.language, "headline": rendered.subject, "text": rendered.text}
        if row.channel == Channel.SMS:
            size = count_segments(rendered.text)
            said |= {"segments": size.segments, "encoding": size.encoding}
    except RenderingError as wrong:
        said["problem"] = str(wrong)
    return Sample(
        subject=rule.terms.subject,
        subject_id=row.subject_id,
        external_id=str(row.external_id),
        customer=row.customer,
        channel=row.channel,
        template=row.template,
        due_at=due_at,
        facts=row.facts,
        because=tuple(because(rule, row.facts or {}, decided_at, zones_in(row.zone or home, home)[0].key)),
        **said,
    )
