"""What was refused and why: nothing of it is told outside; here it is logged, counted, and shown to staff."""

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Lock

from fastapi import HTTPException, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from beforehand.wiring import App
from messaging.breaker import call_staff
from messaging.onlookers import Refused, tell
from models.database import writing

log = logging.getLogger("beforehand.web")

TOPIC = "callbacks"
"""The word before the reason in the notices' topics, such as ``callbacks:signature``."""

GAP = timedelta(minutes=1)
"""Staff are called at most this often: whoever posts rubbish must not keep the database busy."""


class Refusal(StrEnum):
    """Why a request of a provider is refused."""

    TOO_LARGE = "too_large"
    CONTENT_TYPE = "content_type"
    GARBLED = "garbled"
    DUPLICATE_KEY = "duplicate_key"
    NO_SIGNATURE = "no_signature"
    SIGNATURE = "signature"
    BODY_HASH = "body_hash"
    ACCOUNT = "account"
    TOKEN = "token"  # noqa: S105
    MAIL_KEY = "mail_key"


REFUSAL_TEXT: dict[Refusal, str] = {
    Refusal.TOO_LARGE: "it is larger than anything that the provider sends",
    Refusal.CONTENT_TYPE: "it is neither a form nor JSON",
    Refusal.GARBLED: "it cannot be read as what it says it is",
    Refusal.DUPLICATE_KEY: "a field comes twice, so that it can be read in two ways",
    Refusal.NO_SIGNATURE: "it has no signature, or more than one",
    Refusal.SIGNATURE: "its signature is wrong: another auth token, or BEFOREHAND_PUBLIC_URL is not the address that "
    "the provider was given",
    Refusal.BODY_HASH: "its address has no hash of the JSON body, or another one",
    Refusal.ACCOUNT: "it names no account, or another one than ours",
    Refusal.TOKEN: "its address was not made by us: another BEFOREHAND_SECRET_KEY, or somebody tries addresses",
    Refusal.MAIL_KEY: "its signature or password is not that of BEFOREHAND_MAIL_PROVIDER_KEY",
}

SHOWN = frozenset({Refusal.SIGNATURE, Refusal.BODY_HASH, Refusal.ACCOUNT, Refusal.TOKEN, Refusal.MAIL_KEY})
"""What staff are shown: it carried a signature, so that it may be a provider whom our settings keep out."""


class Refusals:
    """The refusals of this process by reason; one for each application, under ``pages.state.refusals``."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.counts: Counter[Refusal] = Counter()
        self._told: datetime | None = None
        self._lock = Lock()

    def note(self, where: str, reasons: Sequence[Refusal]) -> None:
        """Log and count one refusal; ``where`` is the route, without its tokens. Blocking, where staff are told."""
        log.warning("refused a request to %s: %s", where, ", ".join(reasons))
        tell(Refused([reason.value for reason in reasons]))
        now = self._app.clock()
        shown = SHOWN & set(reasons) if Refusal.NO_SIGNATURE not in reasons else set()
        with self._lock:
            self.counts.update(reasons)
            rests = self._told is not None and now < self._told + GAP
            if rests or not shown:
                return
            self._told = now
        try:
            with writing(self._app.engine) as connection:
                for reason in shown:
                    said = f"requests in a provider's name are refused at {where}: {REFUSAL_TEXT[reason]}"
                    call_staff(connection, f"{TOPIC}:{reason}", said, now)
        except SQLAlchemyError as wrong:
            log.error("staff could not be told of refused callbacks: %s", type(wrong).__name__)


async def refuse(request: Request, app: App, reasons: Sequence[Refusal]) -> HTTPException:
    """Note a refusal; gives the 403 to raise, which says nothing of why."""
    state = request.app.state
    if not hasattr(state, "refusals"):
        state.refusals = Refusals(app)
    route = getattr(request.scope.get("route"), "path", "a page")
    await run_in_threadpool(state.refusals.note, route, reasons)
    return HTTPException(403)
