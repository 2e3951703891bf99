"""A replay as files: days as CSV, and the chart as SVG."""

import csv
from datetime import timedelta
from pathlib import Path

from beforehand.backtest.report import Backtest, Day

COUNTS = ("matches", "messages", "tasks", "webhooks")


def every_day(seen: Backtest) -> list[Day]:
    """The days of the replay from the first that had anything to the last, with the empty ones in between."""
    if not seen.days:
        return []
    known = {each.day: each for each in seen.days}
    count = (seen.days[-1].day - seen.days[0].day).days + 1
    days = [seen.days[0].day + timedelta(days=number) for number in range(count)]
    return [known.get(day, Day(day, 0, 0)) for day in days]


def write_csv(seen: Backtest, path: Path) -> None:
    """One line a day: what was found, and what came of it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["day", *COUNTS])
        writer.writerows([each.day.isoformat(), *(getattr(each, name) for name in COUNTS)] for each in every_day(seen))


def write_chart(seen: Backtest, path: Path) -> None:
    """Matches and messages by day, as a bar chart that any browser shows."""
    import pygal

    days = every_day(seen)
    chart = pygal.Bar(
        disable_xml_declaration=False,
        js=[],  # nothing is fetched from elsewhere when the picture is opened
        title=f"{seen.rule_id}, {seen.start:%Y-%m-%d} to {seen.end:%Y-%m-%d}",
        x_label_rotation=45,
        legend_at_bottom=True,
        no_data_text="nothing was found",
    )
    chart.x_labels = [each.day.isoformat() for each in days]
    for name in COUNTS:
        if name in COUNTS[:2] or getattr(seen, name):
            chart.add(name, [getattr(each, name) for each in days])
    path.write_bytes(chart.render())
