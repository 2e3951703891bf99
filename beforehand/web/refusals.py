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
from models.database import dialect_insert, writing
from models.housekeeping import Notice

log = logging.getLogger("beforehand.web")

TOPIC = "callbacks"
"""The notice's topic, while callbacks that look like a provider's are refused."""

GAP = timedelta(minutes=1)
"""The notice is written at most this often: whoever posts rubbish must not keep the database busy."""


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
}

SHOWN = frozenset({Refusal.SIGNATURE, Refusal.BODY_HASH, Refusal.ACCOUNT, Refusal.TOKEN})
"""What staff are shown: it carried a signature, so that it may be a provider whom our settings keep out."""


class Refusals:
    """The refusals of this process by reason; one for each application, under ``pages.state.refusals``."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.counts: Counter[Refusal] = Counter()
        self._since = app.clock()
        self._written: datetime | None = None
        self._lock = Lock()

    def note(self, where: str, reasons: Sequence[Refusal]) -> None:
        """Log and count one refusal; ``where`` is the route, without its tokens. Blocking, where staff are told."""
        log.warning("refused a request to %s: %s", where, ", ".join(reasons))
        now = self._app.clock()
        with self._lock:
            self.counts.update(reasons)
            rests = self._written is not None and now < self._written + GAP
            if rests or not SHOWN & set(reasons) or Refusal.NO_SIGNATURE in reasons:
                return
            self._written = now
        try:
            self._tell_staff(now)
        except SQLAlchemyError as wrong:
            log.error("staff could not be told of refused callbacks: %s", type(wrong).__name__)

    def _tell_staff(self, now: datetime) -> None:
        counted = ", ".join(f"{count} for {reason}" for reason, count in self.counts.most_common())
        said = f"requests in the name of a provider were refused since {self._since:%Y-%m-%d %H:%M} UTC: {counted}"
        table = Notice.__table__  # type: ignore[attr-defined]
        with writing(self._app.engine) as connection:
            put = dialect_insert(connection, table).values(topic=TOPIC, said=said, since=now)
            connection.execute(put.on_conflict_do_update(index_elements=["topic"], set_={"said": said}))


async def refuse(request: Request, app: App, reasons: Sequence[Refusal]) -> HTTPException:
    """Note a refusal; gives the 403 to raise, which says nothing of why."""
    state = request.app.state
    if not hasattr(state, "refusals"):
        state.refusals = Refusals(app)
    route = getattr(request.scope.get("route"), "path", "a page")
    await run_in_threadpool(state.refusals.note, route, reasons)
    return HTTPException(403)
