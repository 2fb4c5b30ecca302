"""Long work in the background: one run a question, however many pages wait for it.

A page holds a ticket. Work ends early when every page that asked for it has cancelled.
"""

import itertools
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from lensdepth.progress import Cancelled, Watcher

Status = Literal["waiting", "running", "done", "cancelled", "failed", "unknown"]
MOST_TICKETS = 200


@dataclass(frozen=True, kw_only=True)
class Report:
    """How far some work is."""

    status: Status
    what: str = ""
    """The part at work."""
    done: int = 0
    total: int = 0
    stage: int = 0
    """Which of several analyses is at work."""
    seconds: float = 0.0
    message: str = ""
    """Why it failed."""

    @property
    def over(self) -> bool:
        return self.status not in ("waiting", "running")

    @property
    def share(self) -> float:
        """Of the analysis at work, from 0 to 1."""
        return self.done / self.total if self.total else 0.0


@dataclass(kw_only=True, eq=False)
class _Work:
    report: Report
    started: float
    wanted: set[str] = field(default_factory=set)
    """Tickets that are not cancelled."""


class Jobs:
    """A few worker threads and what they are at.

    Args:
        n_workers: how many analyses run at a time.
        describe: turns an exception into a message for the page.
    """

    def __init__(
        self, *, n_workers: int = 2, describe: Callable[[BaseException], str] = str
    ) -> None:
        self._pool = ThreadPoolExecutor(n_workers, thread_name_prefix="lensdepth-job")
        self._describe = describe
        self._lock = threading.Lock()
        self._work: dict[str, _Work] = {}
        """What is waiting or running, by question."""
        self._tickets: OrderedDict[str, tuple[str, _Work]] = OrderedDict()

    def start(self, key: str, run: Callable[[Watcher], None]) -> str:
        """A ticket for some work; it begins unless the same question is at work already.

        Args:
            key: of the question.
            run: does it, and calls what it is given after every part.
        """
        ticket = secrets.token_urlsafe(9)
        with self._lock:
            work = self._work.get(key)
            fresh = work is None
            if work is None:
                work = self._work[key] = _Work(report=Report(status="waiting"), started=time.time())
            work.wanted.add(ticket)
            self._tickets[ticket] = (key, work)
            while len(self._tickets) > MOST_TICKETS:
                self._tickets.popitem(last=False)
        if fresh:
            self._pool.submit(self._run, key, work, run)
        return ticket

    def report(self, ticket: str) -> Report:
        """How far the work behind a ticket is."""
        with self._lock:
            found = self._tickets.get(ticket)
            if found is None:
                return Report(status="unknown")
            _, work = found
            cancelled = ticket not in work.wanted and not work.report.over
            return Report(status="cancelled") if cancelled else work.report

    def cancel(self, ticket: str) -> None:
        """Give a ticket back; nobody waits for the work to notice."""
        with self._lock:
            found = self._tickets.get(ticket)
            if found is None:
                return
            key, work = found
            work.wanted.discard(ticket)
            # Who asks from now on gets a run of its own and not one that is about to end.
            if not work.wanted and self._work.get(key) is work:
                del self._work[key]

    def close(self) -> None:
        """End all work between two parts."""
        with self._lock:
            for work in self._work.values():
                work.wanted.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, key: str, work: _Work, run: Callable[[Watcher], None]) -> None:
        began = time.time()
        stages = itertools.count(1)
        stage = 0

        def seen(what: str, done: int, total: int) -> None:
            nonlocal stage
            if done == 0:
                stage = next(stages)
            with self._lock:
                if not work.wanted:
                    raise Cancelled
                work.report = Report(
                    status="running", what=what, done=done, total=total, stage=stage,
                    seconds=time.time() - began,
                )  # fmt: skip

        status: Status = "done"
        message = ""
        try:
            seen("starting", 0, 0)
            run(seen)
        except Cancelled:
            status = "cancelled"
        except Exception as error:
            status, message = "failed", self._describe(error)
        with self._lock:
            work.report = Report(status=status, message=message, seconds=time.time() - began)
            if self._work.get(key) is work:
                del self._work[key]
