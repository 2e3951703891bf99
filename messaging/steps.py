"""The steps of a rule as runs: what is decided and done together, and where a match stands afterwards.

A *run* is the steps from one place up to and including the next send (with the tasks and webhooks right behind it) or
up to the next wait. A voucher and the send that shows it are so decided together: no message, no voucher.
"""

from dataclasses import dataclass, replace

from models.terms import Send, Step, TaskStep, Terms, VoucherStep, Wait, WebhookStep

LAST_TRY = 11
"""No call is tried more often."""

CHANNELS = 3
"""A message has at most so many channels: its own and two others."""


@dataclass(frozen=True)
class Run:
    """Steps ``start`` to ``end`` (excluded) of a rule; ``send`` is the one message among them, at ``send_at``."""

    start: int
    end: int
    send: Send | None = None
    send_at: int | None = None
    voucher: VoucherStep | None = None
    voucher_at: int | None = None
    tasks: tuple[tuple[int, TaskStep], ...] = ()
    webhooks: tuple[tuple[int, WebhookStep], ...] = ()
    attempt: int = 1
    is_else: bool = False
    other: int = 1

    @property
    def label(self) -> str:
        """How the run's message is known within its match: ``1``, ``1.try2``, ``1.else``, ``1.other2``."""
        if self.other > 1:
            return f"{self.branch}.other{self.other}"
        return self.branch if self.attempt == 1 else f"{self.branch}.try{self.attempt}"

    @property
    def branch(self) -> str:
        """The place in ``then``, with ``.else`` for the other branch."""
        place = self.start if self.send_at is None else self.send_at
        return f"{place}.else" if self.is_else else str(place)

    @property
    def ordinal(self) -> int:
        """Tells the messages of one place apart: 0, its ``else`` 1, later tries 2 to 11, other channels 12 to 15."""
        if self.other > 1:
            return LAST_TRY - 1 + self.other + 2 * self.is_else
        return 1 if self.is_else else self.attempt if self.attempt > 1 else 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do: the rule goes on with a wait, or is over."""
        return self.start == self.end

    @property
    def speaks(self) -> bool:
        """Whether the run gives the customer anything, so that the gates decide on it."""
        return self.send is not None or self.voucher is not None

    @property
    def awaits_outcome(self) -> bool:
        """Whether the match must stay at the send until it is known what became of it."""
        if self.send is None or self.is_else:
            return False
        return self.send.tries > 1 or self.send.otherwise is not None


def run_at(steps: tuple[Step, ...], start: int) -> Run:
    """The run that begins at ``start``; empty where a wait or the end is there."""
    run = Run(start, start)
    for index in range(start, len(steps)):
        step = steps[index]
        if _closes(run, step):
            break
        run = _with(run, index, step)
    return run


def _closes(run: Run, step: Step) -> bool:
    if isinstance(step, Wait):
        return True
    if run.send is not None:
        # What follows a send with tries or an else must wait for its outcome.
        return run.awaits_outcome or not isinstance(step, TaskStep | WebhookStep)
    return isinstance(step, VoucherStep) and run.voucher is not None


def _with(run: Run, index: int, step: Step) -> Run:
    run = replace(run, end=index + 1)
    if isinstance(step, Send):
        return replace(run, send=step, send_at=index)
    if isinstance(step, VoucherStep):
        return replace(run, voucher=step, voucher_at=index)
    if isinstance(step, TaskStep):
        return replace(run, tasks=(*run.tasks, (index, step)))
    if isinstance(step, WebhookStep):
        return replace(run, webhooks=(*run.webhooks, (index, step)))
    return run


def retry_of(send: Send, place: int, attempt: int) -> Run:
    """Another try of the call at ``place``; ``attempt`` counts from 1."""
    return Run(place, place + 1, send=send, send_at=place, attempt=attempt)


def else_of(otherwise: Send, place: int) -> Run:
    """The ``else`` of the send at ``place``."""
    return Run(place, place + 1, send=otherwise, send_at=place, is_else=True)


def other_of(terms: Terms, step: str) -> Run | None:
    """What follows a message at ``step`` whose address was bad: the same send by another channel; None: no more."""
    send, (branch, _, before) = template_of(terms, step), step.partition(".other")
    other = int(before or 1) + 1
    if send is None or other > CHANNELS:
        return None
    place = step_index(step)
    alone = replace(send, tries=1, otherwise=None)
    return Run(place, place + 1, send=alone, send_at=place, is_else=branch.endswith(".else"), other=other)


def first_speaking(steps: tuple[Step, ...]) -> Run:
    """The first run behind any leading waits: what a new match is decided on."""
    start = 0
    while start < len(steps) and isinstance(steps[start], Wait):
        start += 1
    return run_at(steps, start)


def leading_waits(steps: tuple[Step, ...]) -> list[Wait]:
    """The waits a rule begins with."""
    waits: list[Wait] = []
    for step in steps:
        if not isinstance(step, Wait):
            break
        waits.append(step)
    return waits


def wait_before(steps: tuple[Step, ...], index: int) -> int | None:
    """The place of the last wait before a step: its ``stop_if`` still counts when the step is about to go out."""
    return next((place for place in range(index - 1, -1, -1) if isinstance(steps[place], Wait)), None)


def step_index(step: str) -> int:
    """The place in ``then`` that a message's step names: ``1``, ``1.else``, ``1.try2`` and ``1.other2`` are all 1."""
    return int(step.split(".", 1)[0])


def template_of(terms: Terms, step: str) -> Send | None:
    """The send behind a message's step, or None where the rule has none there."""
    place = step_index(step)
    found = terms.steps[place] if place < len(terms.steps) else None
    if not isinstance(found, Send):
        return None
    return found.otherwise if ".else" in step else found
