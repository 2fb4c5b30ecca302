"""Long work in the background: one run a question, however many pages wait for it.

A page holds a ticket, asks after it, and gives it back. Works stand in one line of bounded length.
A work is wanted while a page holds a ticket for it and is heard of: one that nobody wants any more
leaves the line at once or, when it is at work, ends at its next part.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lensdepth.progress import Cancelled, Watcher

Status = Literal["waiting", "running", "done", "cancelled", "failed", "refused", "unknown"]
MOST_WAITING = 16
"""Works in the line; a question more is refused."""
SILENCE = 100.0
"""Seconds after which a page that did not ask after its ticket counts as gone. Browsers let the
clock of a hidden page tick once a minute."""
FAREWELL = 10.0
"""Seconds that a page which said goodbye has for asking again: it may only be loaded anew."""
MOST_OVER, OVER_AGE = 200, 3600.0
"""How many tickets that are over are remembered, and for how many seconds at most."""


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """How far some work is."""

    status: Status
    what: str = ""
    """The part at work."""
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    message: str = ""
    """Why it failed, was refused, or ended without anybody's having cancelled it."""
    result: Any = None
    """What the run returned."""

    @property
    def over(self) -> bool:
        return self.status not in ("waiting", "running")

    @property
    def share(self) -> float:
        """Of the analysis at work, from 0 to 1."""
        return self.done / self.total if self.total else 0.0


UNKNOWN = JobReport(
    status="unknown",
    message="The explorer does not know of this analysis any more: it was started anew, or much "
    "has been asked since. Run it again.",
)


@dataclass(kw_only=True, eq=False)
class _Work:
    key: str
    run: Callable[[Watcher], Any]
    report: JobReport = JobReport(status="waiting")
    wanted: set[str] = field(default_factory=set)
    """Its tickets."""


@dataclass(kw_only=True, eq=False)
class _Ticket:
    work: _Work
    page: str
    until: float
    """When its page counts as gone, unless it is heard of before."""


class Jobs:
    """A line of works, and a few threads that are there while it is not empty.

    Args:
        n_workers: how many analyses run at a time.
        describe: turns an exception into a message for the page.
        clock: seconds; does not run while the computer sleeps.
    """

    def __init__(
        self,
        *,
        n_workers: int = 2,
        describe: Callable[[BaseException], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._n_workers = n_workers
        self._describe = describe
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._threads: set[threading.Thread] = set()
        self._work: dict[str, _Work] = {}
        """What is wanted, waiting or running, by question."""
        self._line: dict[_Work, None] = {}
        """What is waiting, in the order in which it came."""
        self._tickets: dict[str, _Ticket] = {}
        """Those that are not over."""
        self._over: OrderedDict[str, tuple[float, JobReport]] = OrderedDict()
        """When those that are over ended, and how."""

    def start(self, key: str, run: Callable[[Watcher], Any], *, page: str = "") -> str:
        """A ticket for some work, in place of the page's earlier one.

        The work begins unless the same question is at work already, or the line is full: then the
        ticket is over, and its report says so.

        Args:
            key: of the question.
            run: does it, and calls what it is given after every part; what it returns is reported.
            page: has one ticket at a time; nameless pages are all different.
        """
        ticket = secrets.token_urlsafe(9)
        with self._lock:
            self._give_up_the_silent()
            work = self._work.get(key)
            if work is not None:
                work.wanted.add(ticket)  # first, or it might end with the earlier ticket
            self._replace(page)
            refusal = self._refusal() if work is None else ""
            if refusal:
                self._remember(ticket, JobReport(status="refused", message=refusal))
                return ticket
            if work is None:
                work = self._work[key] = _Work(key=key, run=run, wanted={ticket})
                self._line[work] = None
            self._tickets[ticket] = _Ticket(work=work, page=page, until=self._clock() + SILENCE)
            self._man()
        return ticket

    def report(self, ticket: str) -> JobReport:
        """How far the work behind a ticket is. Asking is the sign that its page is there."""
        with self._lock:
            self._give_up_the_silent()
            held = self._tickets.get(ticket)
            if held is not None:
                held.until = self._clock() + SILENCE
                return held.work.report
            return self._over[ticket][1] if ticket in self._over else UNKNOWN

    def cancel(self, ticket: str) -> None:
        """Give a ticket back; nobody waits for the work to notice."""
        with self._lock:
            self._end(ticket, JobReport(status="cancelled"))

    def leave(self, ticket: str) -> None:
        """The page says goodbye: its ticket is given back unless it is heard of again soon."""
        with self._lock:
            held = self._tickets.get(ticket)
            if held is not None:
                held.until = min(held.until, self._clock() + FAREWELL)

    def close(self) -> None:
        """End all work between two parts, and take no more."""
        with self._lock:
            self._closed = True
            for ticket in list(self._tickets):
                self._end(ticket, JobReport(status="cancelled", message="The explorer was closed."))
            threads = [t for t in self._threads if t is not threading.current_thread()]
        for thread in threads:
            thread.join()

    # What follows is called with the lock held, but for `_serve` and `_run`.

    def _refusal(self) -> str:
        """Why no more work is taken, if so."""
        if self._closed:
            return "The explorer is closing."
        if len(self._line) < MOST_WAITING:
            return ""
        return (
            f"{len(self._line)} analyses are waiting; cancel one first, or ask again when one is "
            f"done."
        )

    def _replace(self, page: str) -> None:
        if not page:
            return
        said = "Another analysis of this page took its place. Run it again."
        for ticket in [t for t, held in self._tickets.items() if held.page == page]:
            self._end(ticket, JobReport(status="cancelled", message=said))

    def _give_up_the_silent(self) -> None:
        now = self._clock()
        said = "This analysis was ended: its page had not been heard of for a while. Run it again."
        for ticket in [t for t, held in self._tickets.items() if held.until < now]:
            self._end(ticket, JobReport(status="cancelled", message=said))

    def _end(self, ticket: str, report: JobReport) -> None:
        """A ticket is over; so is its work when this was the last one."""
        held = self._tickets.pop(ticket, None)
        if held is None:
            return
        self._remember(ticket, report)
        work = held.work
        work.wanted.discard(ticket)
        if not work.wanted:
            self._line.pop(work, None)
            # Who asks from now on gets a run of its own and not one that is about to end.
            if self._work.get(work.key) is work:
                del self._work[work.key]

    def _remember(self, ticket: str, report: JobReport) -> None:
        now = self._clock()
        self._over[ticket] = now, report
        while len(self._over) > MOST_OVER or next(iter(self._over.values()))[0] < now - OVER_AGE:
            self._over.popitem(last=False)

    def _man(self) -> None:
        """As many threads as there is work for."""
        if not self._line or len(self._threads) >= self._n_workers:
            return
        thread = threading.Thread(target=self._serve, name="lensdepth-job")
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # the system gives no more threads
            self._threads.discard(thread)
            if not self._threads:
                for work in list(self._line):
                    self._finish(work, JobReport(status="failed", message=f"{error}."))

    def _finish(self, work: _Work, report: JobReport) -> None:
        """All tickets of a work are over."""
        for ticket in list(work.wanted):
            self._end(ticket, report)

    def _serve(self) -> None:
        """Work until the line is empty."""
        while True:
            with self._lock:
                self._give_up_the_silent()
                work = next(iter(self._line), None)
                if work is None:
                    self._threads.discard(threading.current_thread())
                    return
                del self._line[work]
            self._run(work)

    def _run(self, work: _Work) -> None:
        began = self._clock()

        def seen(what: str, done: int, total: int) -> None:
            with self._lock:
                self._give_up_the_silent()
                if not work.wanted:
                    raise Cancelled
                work.report = JobReport(
                    status="running", what=what, done=done, total=total,
                    seconds=self._clock() - began,
                )  # fmt: skip

        report = JobReport(status="done")
        try:
            seen("starting", 0, 0)
            report = replace(report, result=work.run(seen))
        except Cancelled:
            report = JobReport(
                status="cancelled", message="It ended before its time. Run it again."
            )
        except BaseException as error:  # whatever it is, the thread goes on and the page is told
            report = JobReport(status="failed", message=self._told(error))
        with self._lock:
            self._finish(work, replace(report, seconds=self._clock() - began))

    def _told(self, error: BaseException) -> str:
        try:
            return self._describe(error) or type(error).__name__
        except Exception:
            return type(error).__name__
