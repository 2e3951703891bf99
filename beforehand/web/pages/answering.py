"""``/a/TOKEN``: the answer to a survey, one to five stars and a word on why. It can be changed by the same link."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection, Row, select, update

from beforehand.web.pages.forms import Form, form_of
from beforehand.web.pages.house import PageHouse, Visit
from beforehand.web.pages.shown import page, plain, words
from messaging.links import Kind
from models.changes import touch
from models.contact import Survey
from models.database import reading, writing

survey = Survey.__table__  # type: ignore[attr-defined]

STARS = ("1", "2", "3", "4", "5")
LONGEST = 2000


def router(house: PageHouse) -> APIRouter:
    """GET and HEAD show the question; ``?score=5`` ticks a star and saves nothing. POST of our own form saves."""
    routes = APIRouter()

    @routes.api_route("/a/{token}", methods=["GET", "HEAD"])
    def look(token: str, lang: str = "", score: str = "") -> HTMLResponse:
        return house.answer(Kind.ANSWER, token, lang, lambda visit: _look(house, visit, score))

    @routes.post("/a/{token}")
    def answer(token: str, form: Annotated[Form, Depends(form_of)], lang: str = "") -> HTMLResponse:
        return house.answer(Kind.ANSWER, token, lang, lambda visit: _answer(house, visit, form), limited=True)

    return routes


def _asked(connection: Connection, visit: Visit) -> Row[Any] | None:
    """The survey that the link's message opened."""
    who, s = visit.visitor, survey.c
    return connection.execute(
        select(s.id, s.score, s.comment, s.answered_at)
        .where(s.match_id == who.match_id, s.customer_id == who.customer_id)
        .where(s.external_id == f"survey/{who.match_id}/{who.step}")
    ).one_or_none()


def _look(house: PageHouse, visit: Visit, score: str) -> HTMLResponse:
    with reading(house.app.engine) as connection:
        asked = _asked(connection, visit)
    if asked is None:
        return house.note("gone", visit.language, 404)
    said = "before" if asked.answered_at else ""
    return _shown(house, visit, said, score=score or str(asked.score or ""), comment=asked.comment or "")


def _answer(house: PageHouse, visit: Visit, form: Form) -> HTMLResponse:
    score, comment = form.one("score"), plain(form.one("comment"), LONGEST)
    if not house.is_sealed(visit, form.one("seal")) or score not in STARS:
        return _shown(house, visit, "missing", score=score, comment=comment, status=400)
    with writing(house.app.engine) as connection:
        asked = _asked(connection, visit)
        if asked is None:
            return house.note("gone", visit.language, 404)
        if (asked.score, asked.comment or "") != (int(score), comment) or not asked.answered_at:
            values = {"score": int(score), "comment": comment or None, "answered_at": visit.now}
            connection.execute(update(survey).where(survey.c.id == asked.id).values(changed_at=visit.now, **values))
            touch(connection, ("survey.answered", "survey.updated"), visit.now)
    return _shown(house, visit, "done", score=score, comment=comment)


def _shown(
    house: PageHouse, visit: Visit, said: str = "", *, score: str, comment: str, status: int = 200
) -> HTMLResponse:
    return page(
        "answer",
        house.app.settings,
        visit.language,
        status=status,
        note=words(visit.language)["answer"].get(said, ""),
        bad=status != 200,
        seal=house.seal(visit),
        score=score if score in STARS else "",
        comment=comment,
    )
