"""A customer's reply, played by the demo, the page or a test: kept, and posted to our webhook."""

from dataclasses import dataclass

import httpx

from beforehand.web.postroom.callbacks import Teller
from beforehand.web.postroom.entries import Entry, language_of, new_sid
from beforehand.web.postroom.house import House
from beforehand.web.postroom.resources import API
from beforehand.web.postroom.twiml import ScriptError, heard
from messaging.segments import count
from models.vocabulary import Channel


@dataclass(frozen=True)
class Received:
    """What became of a reply: its entry, and how our webhook answered (None: there is none, or it did not)."""

    entry: Entry
    answer: int | None
    error: str = ""


async def receive(house: House, teller: Teller, *, from_: str, to: str, body: str) -> Received:
    """Keep a customer's SMS and post it to the inbound webhook; replies in its TwiML answer are kept as sent."""
    entry = house.ledger.add(
        kind=Channel.SMS,
        direction="inbound",
        sid=new_sid("SM"),
        to=to,
        from_=from_,
        body=body,
        at=house.now(),
        status="received",
        language=language_of(body),
    )
    if house.inbound_url is None:
        return Received(entry, None)
    try:
        answer = await teller.post(house.inbound_url, _form(house, entry))
    except (httpx.HTTPError, httpx.InvalidURL) as wrong:
        text = f"the inbound webhook {house.inbound_url} did not answer: {wrong or type(wrong).__name__}"
        house.ledger.note(entry.sid, text)
        return Received(entry, None, text)
    if answer.status_code >= 400:
        house.ledger.note(entry.sid, f"the inbound webhook {house.inbound_url} answered {answer.status_code}")
    else:
        _reply(house, entry, answer.text)
    return Received(entry, answer.status_code)


def _form(house: House, entry: Entry) -> dict[str, str]:
    return {
        "AccountSid": house.account_sid,
        "ApiVersion": API,
        "Body": entry.body,
        "From": entry.from_,
        "MessageSid": entry.sid,
        "NumMedia": "0",
        "NumSegments": str(count(entry.body).segments),
        "SmsMessageSid": entry.sid,
        "SmsSid": entry.sid,
        "SmsStatus": "received",
        "To": entry.to,
    }


def _reply(house: House, entry: Entry, script: str) -> None:
    """Keep every <Message> of a TwiML answer; Twilio sends none to a number that has just said STOP."""
    if not script.lstrip().startswith("<") or house.ledger.stopped(entry.to, entry.from_):
        return
    try:
        lines = heard(script)
    except ScriptError as wrong:
        house.ledger.note(entry.sid, f"12100: {wrong}")
        return
    for line in lines:
        if line.verb == "Message" and line.text:
            house.ledger.add(
                kind=Channel.SMS,
                direction="outbound-reply",
                sid=new_sid("SM"),
                to=entry.from_,
                from_=entry.to,
                body=line.text,
                at=house.now(),
                status="delivered",
                language=language_of(line.text),
            )
