"""Which steps are decided together, and what comes behind them."""

from dateutil.relativedelta import relativedelta

from messaging.steps import first_speaking, leading_waits, run_at, step_index, wait_before
from models.terms import Money, Send, TaskStep, VoucherStep, Wait

SEND = Send("hello")
WAIT = Wait(lasts=relativedelta(days=2))
TASK = TaskStep("look", "desk")
VOUCHER = VoucherStep(Money(5000, "EUR"), relativedelta(days=90))
CALL = Send("ring", tries=2, every=relativedelta(minutes=20), otherwise=Send("sorry"))


def test_a_voucher_and_its_message_are_one_run() -> None:
    run = run_at((VOUCHER, SEND, WAIT, TASK), 0)
    assert (run.start, run.end, run.send, run.voucher, run.send_at) == (0, 2, SEND, VOUCHER, 1)


def test_a_run_takes_the_tasks_behind_its_message_but_not_a_second_message() -> None:
    run = run_at((SEND, TASK, SEND), 0)
    assert (run.end, run.tasks) == (2, ((1, TASK),))
    assert run_at((SEND, TASK, SEND), 2).send_at == 2


def test_nothing_is_done_behind_a_call_before_its_outcome_is_known() -> None:
    run = run_at((CALL, TASK), 0)
    assert run.awaits_outcome
    assert (run.end, run.tasks) == (1, ())
    assert not run_at((SEND, TASK), 0).awaits_outcome


def test_a_wait_and_the_end_are_empty_runs() -> None:
    assert run_at((WAIT, SEND), 0).is_empty
    assert run_at((SEND,), 1).is_empty


def test_a_new_match_is_decided_on_what_comes_behind_the_leading_waits() -> None:
    steps = (WAIT, CALL)
    assert first_speaking(steps).send_at == 1
    assert leading_waits(steps) == [WAIT]
    assert leading_waits((SEND, WAIT)) == []


def test_a_run_of_tasks_does_not_speak() -> None:
    run = run_at((TASK, WAIT, SEND), 0)
    assert not run.speaks
    assert run.tasks == ((0, TASK),)


def test_the_last_wait_before_a_step_decides_whether_it_stops() -> None:
    assert wait_before((WAIT, SEND, WAIT, SEND), 3) == 2
    assert wait_before((SEND, WAIT), 0) is None


def test_a_messages_step_names_its_place() -> None:
    assert [step_index(step) for step in ("1", "1.else", "1.try2", "12")] == [1, 1, 1, 12]
