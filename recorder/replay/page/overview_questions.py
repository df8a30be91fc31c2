"""What the overview asks of the recording."""

from __future__ import annotations

from recorder.replay.page.questions import Asked, Question


def coverage(asked: Asked) -> object:
    weeks = asked.whole("weeks", 5, 1, 53)
    return {"weeks": weeks, "feeds": []}


QUESTIONS = (Question("coverage.json", coverage, fresh_s=10.0),)
