"""Text into times, days and numbers, a column at a time and exact. Nothing here knows of tables or files."""

from dataclasses import dataclass

import polars as pl

DECIMAL = pl.Decimal(38, 10)
ISO_TIMES = (
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
)
EPOCHS = {"epoch_seconds": 1_000_000, "epoch_milliseconds": 1_000, "epoch_microseconds": 1}
WITH_MINUTES = ("%M", "%T", "%R", "%X", "%c", "%s", "%r")
EARLIEST, LATEST = -2_208_988_800_000_000, 7_258_118_400_000_000
"""1900-01-01 and 2200-01-01 UTC in microseconds: what lies outside is a slip of the pen, not a date."""


def bad_format(form: str) -> str | None:
    """What is wrong with a time format, or None. Formats are strftime's, ``iso`` or ``epoch_...``."""
    if form in EPOCHS or form == "iso":
        return None
    if "%" not in form:
        return f"'{form}' is not a time format; expected for example '%d/%m/%Y %H:%M', 'iso' or {', '.join(EPOCHS)}"
    try:
        _parsed(pl.Series(["x"]), form)
    except pl.exceptions.PolarsError as wrong:
        return f"'{form}' is not a time format: {str(wrong).splitlines()[0]}"
    return None


@dataclass
class Times:
    """Moments in microseconds UTC, and what had to be decided about local times."""

    micros: pl.Series
    ambiguous: int = 0
    nonexistent: int = 0


def _has_zone(form: str) -> bool:
    return "%z" in form or "%#z" in form or "%:z" in form


def _has_time(form: str) -> bool:
    return any(part in form for part in ("%H", "%I", "%T", "%R", "%X", "%c", "%s"))


def _parsed(text: pl.Series, form: str) -> pl.Series:
    """Naive or UTC datetimes of the texts that have this form, null elsewhere."""
    if _has_time(form) and not any(part in form for part in WITH_MINUTES):  # an hour alone is the full hour
        text, form = text + ":00", form + ":%M"
    if _has_time(form):
        return text.str.to_datetime(form, time_unit="us", strict=False)
    return text.str.to_date(form, strict=False).cast(pl.Datetime("us"))


def read_times(text: pl.Series, formats: tuple[str, ...] | None, zone: str) -> Times:
    """Read moments: the first format that fits a text counts; one without an offset is local time in ``zone``.

    A local time that happens twice (clocks go back) is read as the earlier one; one that never happens (clocks go
    forward) is moved on by an hour. Both are counted. What fits no format, or lies outside 1900 to 2200, is null.
    """
    result = pl.Series([None] * len(text), dtype=pl.Int64)
    twice = never = 0
    forms: list[str] = []
    for form in formats or ("iso", "%Y-%m-%d"):
        forms.extend(ISO_TIMES if form == "iso" else (form,))
    for form in (*forms, ISO_TIMES[0]):
        left = result.is_null() & text.is_not_null()
        if not left.any():
            break
        rest = text.set(~left, None)
        if form in EPOCHS:
            found = rest.cast(pl.Int64, strict=False) * EPOCHS[form]
        elif _has_zone(form):
            found = _parsed(rest, form).dt.epoch("us")
        else:
            local = Times(*_to_utc(_parsed(rest, form), zone))
            found, twice, never = local.micros, twice + local.ambiguous, never + local.nonexistent
        result = pl.select(pl.coalesce(result, found)).to_series()
    inside = (result >= EARLIEST) & (result < LATEST)
    return Times(result.set(~inside.fill_null(False), None), twice, never)


def _to_utc(local: pl.Series, zone: str) -> tuple[pl.Series, int, int]:
    if local.null_count() == len(local):
        return local.dt.epoch("us"), 0, 0
    early = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    late = local.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    gap = early.is_null() & local.is_not_null()
    if gap.any():
        moved = local.dt.offset_by("1h").dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        early = pl.select(pl.coalesce(early, moved)).to_series()
    return early.dt.epoch("us"), int((early != late).fill_null(False).sum()), int(gap.sum())


def read_days(text: pl.Series, formats: tuple[str, ...] | None) -> pl.Series:
    """Read calendar days; of a text with a time of day only the day as written counts. Null where nothing fits."""
    result = pl.Series([None] * len(text), dtype=pl.Date)
    forms: list[str] = []
    for form in formats or ("%Y-%m-%d", "iso"):
        forms.extend(ISO_TIMES if form == "iso" else (form,))
    for form in forms:
        left = result.is_null() & text.is_not_null()
        if not left.any():
            break
        rest = text.set(~left, None)
        if _has_zone(form):
            rest = rest.str.replace(r"(Z|[+-]\d\d:?\d\d)$", "")
            form = form.replace("%#z", "").replace("%:z", "").replace("%z", "").strip()
        result = pl.select(pl.coalesce(result, _parsed(rest, form).cast(pl.Date))).to_series()
    inside = (result.dt.year() >= 1900) & (result.dt.year() < 2200)
    return result.set(~inside.fill_null(False), None)


def read_numbers(text: pl.Series, decimal: str, thousands: str) -> pl.Series:
    """Read decimal numbers exactly (38 digits, 10 after the mark); null where a text is not one."""
    if thousands:
        text = text.str.replace_all(thousands, "", literal=True)
    if decimal != ".":
        text = text.str.replace_all(".", "?", literal=True).str.replace_all(decimal, ".", literal=True)
    return text.str.strip_chars().cast(DECIMAL, strict=False)


def read_whole(text: pl.Series, decimal: str, thousands: str) -> pl.Series:
    """Read whole numbers (``3``, ``3.0``); null where a text is not one."""
    numbers = read_numbers(text, decimal, thousands)
    whole = numbers.cast(pl.Int64, strict=False)
    return whole.set((whole.cast(DECIMAL) != numbers).fill_null(False), None)


def plain_numbers(numbers: pl.Expr) -> pl.Expr:
    """Decimals as text without needless zeros: ``12.5``, ``3``."""
    return numbers.cast(pl.String).str.replace(r"(\.\d*?)0+$", "$1").str.strip_suffix(".")


def iso_text(micros: pl.Expr) -> pl.Expr:
    """Microseconds UTC as ISO 8601 text with a Z."""
    return pl.from_epoch(micros, time_unit="us").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
