"""The official Twilio SDK, tied down: another base URL, no retries, no logging of people's data, outcomes classed."""

import logging
import math
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from requests import Session
from requests import exceptions as http
from requests.adapters import HTTPAdapter
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client
from urllib3.exceptions import ClosedPoolError, NewConnectionError

from messaging.channels.base import Outcome, Sighting
from messaging.outcomes import MACHINE, TWILIO_MACHINES, of_twilio
from models.vocabulary import MessageState, OutcomeClass

_log = logging.getLogger(__name__)

THREADS = 8
MOST_LISTED = 200
SHOWN = 200
SKEW = timedelta(minutes=5)
"""How far Twilio's clock and ours may be apart when a listing is matched by time."""
SID = re.compile(r"(SM|MM|CA)[0-9a-fA-F]{32}")


@dataclass(frozen=True)
class Account:
    """A Twilio account: ids, our number, where its API is, and how it reaches us.

    ``callback`` gives the address for the status of an attempt, ``voice`` the one for the script of its call; None: it
    cannot reach us, so that it is asked for statuses and is handed each script at once.
    """

    sid: str
    token: str
    sender: str
    base_url: str | None = None
    timeout: float = 10.0
    callback: Callable[[int], str] | None = None
    voice: Callable[[int], str] | None = None


class PlainHttp(HttpClient):  # type: ignore[misc]
    """An HTTP client for the SDK with our base URL. One request is sent once: a silent second POST is a second SMS.

    The SDK's own client keeps the last answer on the object, so that threads could read one another's SID.
    """

    def __init__(self, base_url: str | None, timeout: float) -> None:
        super().__init__(_log, False, timeout)
        self.base = urlsplit(base_url) if base_url else None
        self.session = self._fresh()
        self.last = threading.local()

    def request(
        self,
        method: str,
        url: str,
        params: Any = None,
        data: Any = None,
        headers: Any = None,
        auth: Any = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """Send one request to the configured host; redirects are not followed. Raises what requests raises."""
        self.last.retry_after = None
        answer = self.session.request(
            method.upper(),
            self._at(url),
            params=params,
            data=data,
            headers=headers,
            auth=auth,
            timeout=timeout or self.timeout,
            allow_redirects=False,
        )
        answer.encoding = "utf-8"  # JSON is; guessing costs time and can guess wrong
        self.last.retry_after = seconds(answer.headers.get("Retry-After"), answer.headers.get("Date"))
        return Response(answer.status_code, answer.text, answer.headers)

    def close(self) -> None:
        """Drop kept connections, so that the next batch does not write into one that has gone stale."""
        old, self.session = self.session, self._fresh()
        old.close()

    def _at(self, url: str) -> str:
        if not self.base:
            return url
        parts = urlsplit(url)
        path = self.base.path.rstrip("/") + parts.path
        return urlunsplit((self.base.scheme, self.base.netloc, path, parts.query, ""))

    def _fresh(self) -> Session:
        session = Session()
        session.trust_env = self.base is None  # no proxy between us and a configured host such as the post room
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=0, pool_maxsize=THREADS, pool_connections=2))
        return session


def seconds(retry_after: str | None, date: str | None = None) -> float | None:
    """Read a Retry-After header (RFC 9110 10.2.3) as seconds from now; None for none and for nonsense.

    A moment is compared with the answer's own ``Date``, so that our clock and the provider's need not agree.
    """
    try:
        wait = float(retry_after) if retry_after else None
    except ValueError:
        wait = _until(str(retry_after), date)
    return max(0.0, wait) if wait is not None and math.isfinite(wait) else None


def _until(moment: str, date: str | None) -> float | None:
    try:
        return (parsedate_to_datetime(moment) - parsedate_to_datetime(date or "")).total_seconds()
    except (ValueError, TypeError):
        return None


def client_for(account: Account) -> Client:
    """A Twilio client of this account."""
    return Client(account.sid, account.token, http_client=PlainHttp(account.base_url, account.timeout))


def attempt(client: Client, call: Callable[[], Any]) -> Outcome:
    """Make one create call and class what came of it. Never raises for what a provider or a network does."""
    try:
        made = call()
        sid, status = made.sid, str(made.status)
    except (TwilioRestException, TwilioServiceException) as said:
        return _refused(said, client.http_client.last.retry_after)
    except http.RequestException as broken:
        kind = _broken(broken)
        # nobody there: the same for every message of the batch
        away = kind is OutcomeClass.NOT_ACCEPTED and not _closed_by_us(broken)
        return Outcome(kind, code=type(broken).__name__, stops=away, content={"error": _words(broken)})
    except (TwilioException, ValueError, TypeError, AttributeError, KeyError) as odd:
        return Outcome(OutcomeClass.UNKNOWN, code="garbled", content={"error": _words(odd)})
    if not (isinstance(sid, str) and SID.fullmatch(sid)):
        return Outcome(OutcomeClass.UNKNOWN, code="no_sid")
    return Outcome(OutcomeClass.ACCEPTED, code="201", provider_id=sid, content={"status": status})


def _refused(said: TwilioRestException | TwilioServiceException, retry_after: float | None) -> Outcome:
    # without a JSON error the SDK puts the HTTP status where the code would be
    code = said.code if isinstance(said.code, int) and said.code != said.status else None
    verdict = of_twilio(int(said.status), code)
    return Outcome(
        verdict.kind,
        code=str(code or said.status),
        retry_after_seconds=retry_after,
        **verdict.marks,
        content={"http": int(said.status), "twilio": code},
    )


def _broken(broken: http.RequestException) -> OutcomeClass:
    """Whether the network failed before the first byte of the request was on the wire."""
    if isinstance(broken, http.ConnectTimeout | http.ProxyError | http.InvalidURL):
        return OutcomeClass.NOT_ACCEPTED
    reasons = list(_causes(broken))
    if _closed_by_us(broken):
        return OutcomeClass.NOT_ACCEPTED
    if any(isinstance(reason, NewConnectionError | ssl.SSLCertVerificationError) for reason in reasons):
        return OutcomeClass.NOT_ACCEPTED
    return OutcomeClass.UNKNOWN


def _closed_by_us(broken: http.RequestException) -> bool:
    """Whether another dispatch let go of the kept connections just before this one took one: no byte was sent."""
    return any(isinstance(reason, ClosedPoolError) for reason in _causes(broken))


def _causes(error: BaseException) -> Iterable[BaseException]:
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        at = todo.pop()
        if not isinstance(at, BaseException) or id(at) in seen:
            continue
        seen.add(id(at))
        yield at
        todo += [at.__cause__, at.__context__, getattr(at, "reason", None), *at.args]


def _words(error: BaseException) -> str:
    # only the kind and its cause: the text of a request error can hold the URL with a number in it
    return " < ".join(type(e).__name__ for e in list(_causes(error))[:4])[:SHOWN]


def look_up(fetch: Callable[[str], Any], ids: list[str], words: Mapping[str, MessageState]) -> list[Sighting]:
    """Fetch each id, a few at a time; those that the provider does not answer for are left out."""

    def one(provider_id: str) -> Sighting | None:
        try:
            return sighting(fetch(provider_id), words)
        except (http.RequestException, TwilioException, ValueError, TypeError) as broken:
            _log.info("a status could not be asked: %s", type(broken).__name__)
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        return [found for found in pool.map(one, ids) if found]


def sighting(record: Any, words: Mapping[str, MessageState]) -> Sighting | None:
    """Read one message or call of the API; None for a status that we do not know."""
    status = str(getattr(record.status, "value", record.status))
    state = words.get(status)
    if state is None or not record.sid:
        return None
    if by_machine(state, getattr(record, "answered_by", None)):
        return Sighting(record.sid, MessageState.UNDELIVERED, MACHINE)
    error = getattr(record, "error_code", None)
    plain = "" if state is not MessageState.UNDELIVERED else status
    return Sighting(record.sid, state, str(error) if error else plain)


def by_machine(state: MessageState, answered_by: str | None) -> bool:
    """Whether a call that was answered reached a machine only: nobody has heard us."""
    return state in (MessageState.SENT, MessageState.DELIVERED) and answered_by in TWILIO_MACHINES


def listed(fetch: Callable[[], list[Any]]) -> list[Any] | None:
    """Run a list call; None where the provider did not answer, which proves nothing."""
    try:
        return fetch()
    except (http.RequestException, TwilioException, ValueError, TypeError) as broken:
        _log.info("a listing could not be asked: %s", type(broken).__name__)
        return None


def between(made: Any, since: datetime, until: datetime) -> bool:
    """Whether a record was made between two moments, give or take the skew; one without a date may have been."""
    if not isinstance(made, datetime):
        return True
    return since - SKEW <= made <= until + SKEW
