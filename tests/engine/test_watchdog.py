"""Silence: whose, since when, and when it is worth a word."""

from __future__ import annotations

import time

from lsweep.engine.watchdog import Watchdog


class Room:
    """A watchdog, a clock to set, and what was said."""

    def __init__(self, ranks: int = 3, patience: float = 100.0) -> None:
        self.now, self.said = 0.0, []  # type: float, list[str]
        self.dog = Watchdog(
            [f"n{r}" for r in range(ranks)], patience, say=self.said.append, clock=lambda: self.now
        )

    def pass_time(self, seconds: float, *, listening: bool = True) -> list[str]:
        self.now += seconds
        self.dog.heard(0)
        if listening:
            self.dog.listened()
        self.said.clear()
        self.dog.look()
        return self.said


def test_a_silent_rank_is_named_and_then_less_often() -> None:
    room = Room()
    assert room.pass_time(90) == []
    room.dog.heard(1)
    assert room.pass_time(20) == ["rank 2 (n2) has been silent for 1:50"]
    assert room.pass_time(10) == []
    assert [line.split(" has")[0] for line in room.pass_time(80)] == ["rank 1 (n1)"]
    assert room.pass_time(21) == ["rank 2 (n2) has been silent for 3:41"]  # twice the first
    room.dog.heard(1)
    room.dog.heard(2)
    assert room.pass_time(99) == []
    assert len(room.pass_time(2)) == 2


def test_who_has_finished_may_be_silent() -> None:
    room = Room()
    room.dog.finished(1)
    assert [line.split(" has")[0] for line in room.pass_time(1000)] == ["rank 2 (n2)"]


def test_others_are_not_silent_while_rank_0_does_not_listen() -> None:
    room = Room()
    room.dog.begin(lambda: "point (0, 1)")
    assert room.pass_time(99, listening=False) == []
    assert room.pass_time(2, listening=False) == ["this rank has been at point (0, 1) for 1:41"]
    room.dog.end()
    assert room.pass_time(500, listening=False) == []


def test_slow_points_are_given_time() -> None:
    room = Room(ranks=2)
    room.dog.took(30.0)
    assert room.pass_time(299) == []
    assert room.pass_time(2) == [
        "rank 1 (n1) has been silent for 5:01; until now the slowest point took 30 s"
    ]


def test_the_thread_looks_by_itself_and_goes() -> None:
    said: list[str] = []
    dog = Watchdog(patience=0.05, say=said.append)
    with dog.watching():
        dog.begin(lambda: "point (1)")
        end = time.monotonic() + 10
        while not said and time.monotonic() < end:
            time.sleep(0.01)
    assert said[0].startswith("this rank has been at point (1) for 0:0")


def test_a_new_round_begins() -> None:
    room = Room(ranks=2)
    room.dog.finished(1)
    assert room.pass_time(1000) == []
    room.dog.resumed()
    assert room.pass_time(99) == []
    assert room.pass_time(2) == ["rank 1 (n1) has been silent for 1:41"]
