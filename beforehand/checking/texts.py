"""What is wrong with the templates that rules name: missing, not to be filled, in too few languages, or an offer."""

from collections.abc import Iterator, Mapping

from messaging.offers import Offer, offers
from messaging.rendering import Problem as TemplateProblem
from messaging.rendering import Templates, fall_back
from models.terms import Send
from models.vocabulary import Channel, Purpose, RuleStatus
from rules.checks import error, sends, warning
from rules.errors import Problem
from rules.loader import Rule

ENOUGH = 0.02
"""The share of the customers from which on a language is worth a text of its own."""


class Texts:
    """The templates of one folder; each is tried once for each kind of subject, however many rules name it."""

    def __init__(self, templates: Templates) -> None:
        self.templates = templates
        self._tried: dict[tuple[object, ...], list[TemplateProblem]] = {}
        self._offers: dict[tuple[object, ...], list[Offer]] = {}

    def problems(self, rule: Rule) -> Iterator[Problem]:
        """What is wrong with the templates of a rule, each at the step that names it."""
        for step, voucher, at in sends(rule.terms.steps, rule.root.get("then")):
            for wrong in self._wrong(step, rule.terms.subject, voucher=voucher):
                yield error(rule, at, f"template '{step.template}': {wrong}")
            if rule.terms.purpose is Purpose.SERVICE:
                for offer in self._offered(step):
                    where = f"{offer.path}:{offer.line}"
                    said = f"template '{step.template}' reads like an offer under 'purpose: service': "
                    yield warning(rule, at, f"{said}'{offer.word}' in {where}")

    def _wrong(self, step: Send, subject: str, *, voucher: bool) -> list[TemplateProblem]:
        key = (step.template, step.by, subject, voucher)
        if key not in self._tried:
            self._tried[key] = self.templates.problems(step.template, step.by, subject=subject, voucher=voucher)
        return self._tried[key]

    def _offered(self, step: Send) -> list[Offer]:
        key = (step.template, step.by)
        if key not in self._offers:
            self._offers[key] = offers(self.templates.folder, step.template, step.by)
        return self._offers[key]

    def unaddressed(self, rule: Rule) -> Iterator[Problem]:
        """Advertising by e-mail without a postal address under it, which the laws of most countries ask for."""
        if rule.terms.status is not RuleStatus.LIVE or rule.terms.purpose is not Purpose.MARKETING:
            return
        for step, _, at in sends(rule.terms.steps, rule.root.get("then")):
            if Channel.EMAIL in (step.by or self.templates.channels(step.template)):
                said = "an advertising e-mail needs your postal address under it, and none is set"
                yield error(rule, at, said, "it in BEFOREHAND_BRAND_ADDRESS")

    def unspoken(self, rule: Rule, spoken: Mapping[str, int]) -> Iterator[Problem]:
        """Languages of many customers in which a template of the rule is not written, channel by channel.

        ``spoken``: how many customers have each language tag; an empty tag is nobody's.
        """
        if rule.terms.status is RuleStatus.RETIRED:
            return
        for step, _, at in sends(rule.terms.steps, rule.root.get("then")):
            for channel in step.by or sorted(self.templates.channels(step.template)):
                for language, count in self._missing(step.template, channel, spoken).items():
                    share = count / sum(spoken.values())
                    said = f"template '{step.template}' has no text in '{language}' for {channel}"
                    yield error(rule, at, f"{said}, the language of {share:.0%} of the customers ({count:,})")

    def _missing(self, template: str, channel: Channel, spoken: Mapping[str, int]) -> dict[str, int]:
        """The languages without a text, regions put together, that enough customers have."""
        written = {tag.lower() for tag in self.templates.languages(template, channel)}
        missing: dict[str, int] = {}
        if not written:
            return missing  # that there is no text at all is told elsewhere
        for tag, count in spoken.items():
            tags = fall_back(tag, tag)
            if tag and not written.intersection(tags) and tags[-1] != self.templates.language.lower():
                missing[tags[-1]] = missing.get(tags[-1], 0) + count
        return {language: count for language, count in missing.items() if count >= ENOUGH * sum(spoken.values())}
