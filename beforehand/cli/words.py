"""How preview and plan say what things cost and how many there are: plain text, the same in every format."""

from typing import TYPE_CHECKING
from unicodedata import category

from beforehand.counting import CHANNELS as CHANNELS
from beforehand.counting import some as some

if TYPE_CHECKING:
    from messaging.costs import ChannelCost, Cost

PRICE_SETTINGS = {"sms": "BEFOREHAND_SMS_PRICE", "voice": "BEFOREHAND_CALL_PRICE", "email": "BEFOREHAND_EMAIL_PRICE"}

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def plainly(text: str) -> str:
    """Text from files and data, lines kept, in which nothing can move a terminal's cursor or colour what follows.

    Marks of direction stay where a template set them: what customers are called holds none by then.
    """
    return "".join(char if char == "\n" or category(char) not in ("Cc", "Cs") else UNKNOWN for char in text)


def safe(text: str) -> str:
    """Text from rule files and data on one line of a rich console: no markup, nothing that a terminal obeys."""
    from rich.markup import escape

    from beforehand.cli.problems import clean

    return escape(clean(text))


def cost_lines(cost: "Cost") -> list[str]:
    """What it costs, a sentence a line: the sum and its parts, vouchers, what has no price and what is guessed."""
    from messaging.costs import shown, shown_money

    lines = []
    if cost.channels:
        parts = ", ".join(_by_channel(line, cost.currency) for line in cost.channels)
        amount = (
            "" if cost.amount is None else f"{'about ' if cost.is_estimate else ''}{shown(cost.amount, cost.currency)}"
        )
        lines.append(f"Sending costs {amount}: {parts}." if amount else f"Sending: {parts}.")
    if cost.is_estimate:
        lines.append(
            f"The segments are an estimate: {cost.rendered:,} of the {cost.of_sms:,} SMS were filled and counted."
        )
    if cost.unfilled:
        lines.append(
            f"{cost.unfilled:,} of the {cost.rendered:,} SMS that were tried cannot be filled, and would not go."
        )
    if cost.vouchers:
        lines.append(f"Vouchers are worth {' and '.join(map(shown_money, cost.vouchers))}, if all are redeemed.")
    if cost.unpriced:
        names = [PRICE_SETTINGS[channel] for channel in cost.unpriced]
        which = "for some of them" if cost.amount is not None else "yet"
        lines.append(f"No price is set {which}: say what you pay in {' and '.join(names)}.")
    return lines


def _by_channel(line: "ChannelCost", currency: str) -> str:
    from messaging.costs import shown

    said = some(line.messages, *CHANNELS[line.channel])
    if line.channel == "sms":
        said += f" of {some(line.units, 'segment')}"
    return said if line.unpriced else f"{said} ({shown(line.amount, currency)})"
