"""A worker that answers customers in the conversations that `ai` handles. docs/AI.md explains each step.

No dependencies; Python 3.9 or newer:

    RAPPORT_URL=http://127.0.0.1:8080 RAPPORT_API_KEY=rk_… python3 worker.py

Put your model into `write_answer`. Run as many of them as you like: each task is claimed by one.
"""

import http.client
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

API = os.environ.get("RAPPORT_URL", "http://127.0.0.1:8080").rstrip("/") + "/api/v1"
KEY = os.environ.get("RAPPORT_API_KEY", "")
LEASE_SECONDS = 60
WAIT_SECONDS = 30
# How many times a request is sent that got no answer, or one that says to try again.
ATTEMPTS = 4
# No response, or a part of one: HTTPException is one that was cut off, ValueError JSON that was.
FAULTS = (OSError, http.client.HTTPException, ValueError)
# The conversation has gone on, or it is too late for an answer: there is nothing to mend.
OVERTAKEN = ("conversation_moved", "window_closed")
# No further attempt would help.
HOPELESS = ("no_channel", "conversation_closed", "not_found")


class Refused(Exception):
    """An error response: `status`, and `code`, which is stable."""

    def __init__(self, error):
        text = error.read().decode(errors="replace")
        problem = json.loads(text) if "problem+json" in error.headers.get("Content-Type", "") else {"detail": text}
        super().__init__(f"{error.code} {problem.get('code')}: {problem.get('detail')}")
        self.status, self.code = error.code, problem.get("code")
        pause = error.headers.get("Retry-After", "")
        self.pause = int(pause) if pause.isdecimal() else None
        self.is_passing = self.status in (429, 502, 503, 504) or self.code == "idempotency_in_progress"


def call_once(method, path, body=None, key=None, timeout=WAIT_SECONDS + 30):
    """Sends a request and returns its JSON."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise Refused(error) from None


def call(method, path, body=None, key=None):
    """As `call_once`, repeated where that may help. With an idempotency `key` a repetition has no second effect."""
    for attempt in range(1, ATTEMPTS + 1):
        pause = 2**attempt
        try:
            return call_once(method, path, body, key)
        except Refused as refused:
            if not refused.is_passing or attempt == ATTEMPTS:
                raise
            pause = refused.pause or pause
        except FAULTS:
            if attempt == ATTEMPTS:
                raise
        time.sleep(pause)


class Lease:
    """Keeps a claimed task while it is worked on; `lost` is set once it is not ours any more."""

    def __init__(self, task):
        self.path, self.token, self.lost = f"/worker-tasks/{task['id']}", task["token"], False
        self.over = threading.Event()

    def __enter__(self):
        threading.Thread(target=self.renew, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()

    def renew(self):
        body = {"token": self.token, "lease_seconds": LEASE_SECONDS}
        while not self.over.wait(LEASE_SECONDS / 3):
            try:
                # Once and with a short time-out: so the next renewal comes before the lease ends.
                call_once("POST", self.path + "/renewal", body, timeout=LEASE_SECONDS / 6)
            except Refused as refused:
                if refused.code == "lease_lost":
                    self.lost = True
                    return
            except FAULTS:
                pass


def write_answer(messages):
    """Returns the answer to a thread (what came last is last), and what the model used. Replace it by your model."""
    question = [message["body"] or "" for message in messages if message["direction"] == "inbound"][-1]
    text = f"Thank you for your message: “{question[:200]}” We will be with you shortly."
    return text, {"model": "example", "input_tokens": len(question) // 4, "output_tokens": len(text) // 4}


def came(message):
    """When a message came here; of the channel's past, when it was sent. (WhatsApp's `sent_at` is earlier, in whole seconds.)"""
    return message["sent_at" if message["origin"] == "history" else "created_at"]


def read_thread(conversation):
    """Returns what was said lately, in the order in which it came: neither notes nor drafts."""
    query = urllib.parse.urlencode({"conversation_id": conversation, "sort": "-sent_at", "limit": 50})
    rows = call("GET", f"/messages?{query}")["data"]
    return sorted((row for row in reversed(rows) if row["kind"] != "note" and row["status"] != "draft"), key=came)


def is_answered(thread, last_message):
    """Whether a model or a person has written since `last_message` came, of which the task was made."""
    inbound = [message for message in thread if message["direction"] == "inbound"]
    # It may have been deleted since: then what came last counts.
    asked = [message for message in inbound if message["id"] == last_message] or inbound[-1:]
    return not asked or any(row["author"] in ("ai", "user") and came(row) > came(asked[0]) for row in thread)


def send(conversation, text, usage, last_message, key):
    """Sends an answer with what it took to write it, unless something was said since `last_message`."""
    figures = {"ai_cost" if name == "cost" else name: value for name, value in usage.items()}
    message = {"body": text, "author": "ai", "if_last_message_id": last_message, **figures}
    return call("POST", f"/conversations/{conversation}/messages", message, key)


def reply(task, lease):
    """Answers the customer. Returns how the task ends, and what the worker says of it."""
    conversation = task["payload"]["conversation_id"]
    thread = read_thread(conversation)
    if is_answered(thread, task["payload"].get("last_message_id")):
        # As by an earlier attempt, which has sent its answer and died before it could say so.
        return "completion", {"result": {"sent": False, "reason": "already answered"}}
    # The last one by the order of the service.
    last_message = max(thread, key=lambda message: (message["sent_at"], message["id"]))["id"]
    began = time.monotonic()
    text, usage = write_answer(thread)
    usage = {"run_id": task["token"], "latency_ms": int((time.monotonic() - began) * 1000), **usage}
    discarded = "completion", {"result": {"sent": False}, "usage": {**usage, "outcome": "discarded"}}
    if lease.lost:
        return discarded
    try:
        message = send(conversation, text, usage, last_message, f"reply-{task['token']}")
    except Exception as error:
        code = getattr(error, "code", None)
        if code in OVERTAKEN:
            return discarded
        usage["outcome"] = "failed"
        return "failure", {"error": describe(error), "retry": code not in HOPELESS, "usage": usage}
    return "completion", {"result": {"sent": True, "message_id": message["id"]}, "usage": {**usage, "outcome": "sent"}}


def describe(error):
    """Returns the text of an error, as long as a task takes it."""
    return repr(error)[:2000]


def work(task):
    """Does a task, and reports how it ended."""
    try:
        with Lease(task) as lease:
            try:
                act, body = reply(task, lease)
            except Exception as error:  # Whatever it is: the task is tried again, later.
                act, body = "failure", {"error": describe(error)}
            call("POST", f"/worker-tasks/{task['id']}/{act}", {"token": task["token"], **body}, f"end-{task['token']}")
    except Refused as refused:
        if refused.code != "lease_lost":
            raise
        print(f"{task['id']}: {refused}", file=sys.stderr)


def run(most=None):
    """Works until the process is asked to stop (SIGTERM), or has done `most` tasks."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    done = 0
    while not stopping.is_set() and (most is None or done < most):
        claim = {"kinds": ["reply"], "lease_seconds": LEASE_SECONDS, "wait": WAIT_SECONDS}
        try:
            # A claim whose response was lost is repeated with its key, and gets the same task.
            for task in call("POST", "/task-claims", claim, str(uuid.uuid4()))["data"]:
                work(task)
                done += 1
        except (Refused, *FAULTS) as error:
            if getattr(error, "status", None) in (401, 403):
                raise  # The key is wrong, which waiting does not mend.
            print(repr(error), file=sys.stderr)
            stopping.wait(5)


if __name__ == "__main__":
    run()
