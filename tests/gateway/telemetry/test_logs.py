import io
import json
import logging
import os
import signal
import threading
import time
from datetime import datetime

import pytest

from gateway.telemetry.logs import REPEATS_MAX, Logs, _thread_died
from gateway.telemetry.meter import Meter

WAIT_S = 30.0


def fail(text):
    raise ValueError(text)


@pytest.fixture
def log():
    """Return a logger and the function that gives the lines it has written, for each format."""
    made = []

    def make(form):
        logs = Logs("worker-7", form)
        logs.stream = io.StringIO()
        logger = logging.Logger("gateway.some")  # noqa: LOG001  (of this test alone, outside the tree of loggers)
        logger.addHandler(logs)
        made.append(logs)
        return logger, logs, lambda: logs.stream.getvalue().splitlines()

    yield make
    for logs in made:
        logs.close()


def test_a_line_is_one_object_with_the_time_the_process_and_the_fields(log):
    logger, _, lines = log("json")
    try:
        fail("two\nlines")
    except ValueError:
        logger.exception("version %d failed", 3, extra={"request_id": "r-1"})
    (line,) = lines()
    event = json.loads(line)
    assert (
        event.items()
        >= {
            "level": "error",
            "process": "worker-7",
            "logger": "gateway.some",
            "message": "version 3 failed",
            "request_id": "r-1",
        }.items()
    )
    assert "ValueError: two\nlines" in event["exception"]
    at = datetime.fromisoformat(event["time"])
    assert at.utcoffset().total_seconds() == 0
    assert abs(at.timestamp() - time.time()) < WAIT_S


def test_a_line_of_text_has_the_fields_too(log):
    logger, _, lines = log("text")
    logger.warning("it failed", extra={"request_id": "r-1"})
    assert lines()[0].endswith("WARNING worker-7 gateway.some: it failed request_id=r-1")


def test_a_message_that_repeats_is_held_back_and_counted(log):
    logger, logs, lines = log("json")
    for number in range(100):
        logger.error("store %d does not answer", number)
    logger.error("another message")
    assert len(lines()) == REPEATS_MAX + 1
    meter = Meter()
    logs.put_counts(meter)
    assert meter.family("turnout_log_messages_total")["worker-7", "error"].total == 101
    for key, (_, seen) in list(logs._windows.items()):
        logs._windows[key] = (0.0, seen)  # the window is over
    logger.error("store %d does not answer", 100)
    assert json.loads(lines()[-1])["repeats"] == str(100 - REPEATS_MAX)


@pytest.mark.parametrize("form", ["json", "text"])
def test_credentials_are_left_out(log, form):
    logger, _, lines = log(form)
    try:
        fail("rediss://user:hunter2@store:6379/0 said no")
    except ValueError:
        logger.exception("%s", "authorization: Bearer hunter2", extra={"url": "redis://:hunter2@store"})
    text = "\n".join(lines())
    assert "hunter2" not in text
    assert "rediss://user:***@store:6379/0 said no" in text


def test_every_line_of_a_gateway_is_json_its_workers_deaths_included(launch, operator_of, tmp_path):
    gateway = launch(tmp_path / "state", "--log-format", "json")
    operator = operator_of(gateway)
    try:
        operator.publish("scaled", 1, alias="champion")
        operator.wait()
        os.kill(gateway.pids[1], signal.SIGKILL)
        until = time.monotonic() + WAIT_S
        while not (operator.status().workers[0].restarts == 1 and operator.status().workers[0].ready):
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        operator.close()
    assert gateway.stop() == 0
    events = [json.loads(line) for line in (gateway.state / "gateway.log").read_text().splitlines()]
    assert {event["process"] for event in events} == {"control", "worker-0"}
    assert [event for event in events if event["level"] == "warning" and "starting it again" in event["message"]]
    assert all(event["time"].endswith("Z") for event in events)


def test_a_higher_level_keeps_the_rest_out(launch, tmp_path):
    gateway = launch(tmp_path / "state", "--log-level", "error")
    assert gateway.stop() == 0
    assert (gateway.state / "gateway.log").read_text() == ""


def test_a_thread_that_dies_is_logged(capfd):
    before, threading.excepthook = threading.excepthook, _thread_died
    try:
        thread = threading.Thread(target=lambda: 1 / 0, name="doomed")
        with_handler = logging.getLogger("gateway")
        logs = Logs("worker-7", "json")
        with_handler.addHandler(logs)
        thread.start()
        thread.join()
        with_handler.removeHandler(logs)
    finally:
        threading.excepthook = before
    event = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert event["message"] == "thread doomed ended with an error"
    assert "ZeroDivisionError" in event["exception"]
