"""Two looks must agree on what hangs on a clock or a file: one that is wrong for a moment decides nothing."""

from beforehand.approving import Looks


class Watch:
    """Looks whose clock is set by hand, in seconds."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.looks = Looks(apart=3, monotonic=lambda: self.seconds)

    def look(self, after: float, *seen: str) -> list[str]:
        """What a look is sure of that sees all this of run 1, so many seconds after the one before."""
        self.seconds += after
        self.looks.begin()
        return [what for what in seen if self.looks.sure(1, what)]


def test_one_look_is_never_sure_and_two_are_once_they_lie_apart() -> None:
    watch = Watch()
    assert watch.look(0, "expired") == []
    assert watch.looks.doubts
    assert watch.look(2, "expired") == []
    assert watch.look(1, "expired", "not live") == ["expired"]


def test_a_look_that_does_not_see_it_begins_anew() -> None:
    watch = Watch()
    watch.look(0, "expired")
    assert watch.look(5) == []
    assert not watch.looks.doubts
    assert watch.look(5, "expired") == []
    assert watch.look(5, "expired") == ["expired"]


def test_each_run_stands_for_itself() -> None:
    watch = Watch()
    watch.look(0, "expired")
    watch.seconds += 5
    watch.looks.begin()
    assert not watch.looks.sure(2, "expired")
    assert watch.looks.sure(1, "expired")
