"""Log lines are written by a thread of their own."""

from __future__ import annotations

import json
import logging
import os
import time

from phi4mm.server.access_log import MAX_LINES, JSONLines, LineQueue


def test_a_reader_of_the_log_that_stops_does_not_stop_the_server() -> None:
    """The event loop stood still as soon as the pipe of stderr was full."""
    reading, writing = os.pipe()
    logger = logging.Logger("of this test")
    with open(writing, "w", encoding="utf-8") as stream, open(reading, encoding="utf-8") as reader:
        handler = LineQueue(stream)
        handler.setFormatter(JSONLines())
        logger.addHandler(handler)
        begun = time.monotonic()
        for number in range(2 * MAX_LINES):
            logger.info("line %d of many, so many that they fill a pipe and a queue", number)
        assert time.monotonic() - begun < 10
        first = json.loads(reader.readline())
        assert first["message"].startswith("line 0 ")
        last: dict[str, object] = {}
        while "lines_dropped" not in last:  # room comes as lines are read
            logger.info("last")
            last = json.loads(reader.readline())
        assert isinstance(last["lines_dropped"], int) and last["lines_dropped"] >= 1
        logger.info("the end")
        while json.loads(reader.readline())["message"] != "the end":
            pass
        handler.flush()
