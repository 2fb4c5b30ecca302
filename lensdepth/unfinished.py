"""What is being written, and what a run that was killed left of it.

Everything is written under a hidden name beside its place, `.NAME.<16 hex>.lensdepth`, on which
its writer holds a lock. The system lets go of the lock when the process ends, however it ends, so
that the next writer into a folder can tell what is being written from what was abandoned: `sweep`
removes the latter. Where there are no locks (Windows; some network file systems) it stays.

A page and its tables are two names, and no system renames two at once. They are written into one
hidden folder, which is renamed to `.NAME.<digest>.lensdepth-whole`, a name that one writer at a
time can have. Then a list of what is to be replaced gets its name in there, and that rename is the
moment that counts: before it there is the old report, after it the new one. What is left to do only
moves things, old ones out and new ones in, and goes on from wherever it was stopped: at the next
`sweep`, if the writer was killed. The first name leaves first and returns last: while there is a
page, the tables beside it are its own. (Two links through a third, which one rename can turn, would
never leave a moment without a page. But then there would be links for good, which do not survive
being mailed, moved or copied to a stick; and links that stand in for a moment take an exchange of
names that not every system has.)
"""

import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from lensdepth.outside import shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LONGEST = 100
"""Most bytes of a name that are kept in the hidden one: that must not grow too long."""
COMMITTED = "replaced.json"
"""In a whole that will be switched: the inode of each thing that it replaces, and of no other."""
LOCK = ".lensdepth-lock"
"""In a folder that one run at a time writes into: the number of its process. It stays."""
_WHOLE = ".lensdepth-whole"
_LEFT = re.compile(rf"\..*\.[0-9a-f]{{16}}(\.lensdepth|{_WHOLE})", re.DOTALL)


@contextmanager
def hidden(place: Path, *, folder: bool = False) -> Iterator[Path]:
    """A new hidden file or folder beside `place`, held in the block and gone after it.

    What killed runs left in the same folder is swept first.

    Raises:
        OSError: there is no such folder, or nothing can be made in it.
    """
    sweep(place.parent)
    path, handle = _make(place, folder=folder)
    try:
        yield path
    finally:
        _remove(path)
        _let_go(handle)


@contextmanager
def alone_in(folder: Path, *, caller: str) -> Iterator[None]:
    """Hold a folder that one run at a time writes into; the lock goes with its process.

    Where there are no locks (Windows, some network file systems) nobody holds it.

    Args:
        folder: which is there.
        caller: of the public function.
    Raises:
        ValueError: another run holds it.
        OSError: nothing can be made in it.
    """
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            _take(handle, folder, caller)
        with suppress(OSError):  # a full disk is no reason: the number is for people
            os.truncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _take(handle: int, folder: Path, caller: str) -> None:
    assert fcntl is not None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        whose = os.pread(handle, 20, 0).decode(errors="replace").strip()
        named = f" (process {whose})" if whose.isdigit() else ""
        raise ValueError(
            f"{caller}: another run{named} is at work in {shown(str(folder))}; wait until it has "
            f"ended, or name another folder."
        ) from error
    except OSError:  # no locks here
        pass


def sweep(folder: Path) -> None:
    """Complete what killed runs had finished in a folder, and remove what they had not."""
    left: list[Path] = []
    with suppress(OSError), os.scandir(folder) as entries:
        left += [Path(entry.path) for entry in entries if _LEFT.fullmatch(entry.name)]
    for path in left:
        # Whatever is wrong with what others left does not concern who writes here now.
        with suppress(OSError, ValueError):
            handle = _lock(path, wait=False)
            try:
                if path.name.endswith(_WHOLE):
                    _go_on(path)
                else:
                    _remove(path)
            finally:
                _let_go(handle)


def switch(folder: Path, places: Sequence[Path]) -> None:
    """Put what lies in a hidden folder, under `new`, into its places: all of it or nothing.

    Args:
        folder: given by `hidden`; it goes.
        places: beside it; in the order in which old ones leave, new ones come in the reverse.
    Raises:
        OSError: the old ones cannot be moved; they are where they were.
    """
    (folder / "old").mkdir()
    settle(folder / "new")
    whole = whole_name(places[0])
    while True:
        complete(whole)
        try:
            folder.rename(whole)
            break
        except OSError as error:  # another run came first, and goes first
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    try:
        noted = whole / "noted"
        noted.write_text(json.dumps({place.name: _inode(place) for place in places}))
        settle(noted)
        noted.rename(whole / COMMITTED)  # the moment that counts
        settle(whole)
        settle(whole.parent)
        _go_on(whole)
    except OSError:
        if not any((whole / "old").iterdir()):
            _discard(whole)
        raise


def whole_name(place: Path) -> Path:
    """Under which a new whole waits to be moved into its places; one at a time can."""
    digest = sha256(os.fsencode(place.name)).hexdigest()[:16]
    return place.with_name(f".{_short(place.name)}.{digest}{_WHOLE}")


def complete(whole: Path) -> None:
    """Complete a switch that was interrupted; wait for one that is at work.

    Raises:
        OSError: something stands in its way.
    """
    while os.path.lexists(whole):
        handle = None
        try:
            handle = _lock(whole, wait=True)
        except FileNotFoundError:  # its writer has finished meanwhile
            continue
        except PermissionError:
            raise
        except OSError:  # no locks here
            pass
        try:
            _go_on(whole)
        finally:
            _let_go(handle)


def settle(path: Path) -> None:
    """Have a file or folder on the disk, and not only on its way there."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # folders: in Windows, and where they may not be listed
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF):
            raise  # and else this file system knows no such thing
    finally:
        os.close(handle)


def keep_permissions(old: Path, new: Path) -> None:
    """Give a file or folder, and what lies in it, owner and mode of what it replaces."""
    for path in (new, *new.rglob("*")):
        before = old / path.relative_to(new)
        if before.is_symlink() or not before.exists():
            continue
        with suppress(OSError):
            about = before.stat()
            with suppress(OSError, AttributeError):  # another user's, or Windows
                os.chown(path, -1, about.st_gid)
                os.chown(path, about.st_uid, -1)
            shutil.copystat(before, path)
            os.utime(path)
            if path.stat().st_gid != about.st_gid:
                path.chmod(stat.S_IMODE(about.st_mode) & ~stat.S_IRWXG)


def _go_on(whole: Path) -> None:
    """Move old ones out and new ones in, from wherever that was stopped, and throw the old away."""
    if not (whole / COMMITTED).exists():
        _discard(whole)  # the moment that counts never came
        return
    replaced: dict[str, int | None] = json.loads((whole / COMMITTED).read_bytes())
    ways = [(whole.with_name(n), whole / "new" / n, whole / "old" / n) for n in replaced]
    there = os.path.lexists
    for (place, new, old), inode in zip(ways, replaced.values(), strict=True):
        if there(new) and there(place) and (there(old) or _inode(place) != inode):
            raise FileExistsError(
                f"{shown(str(place))} was made while its successor waited in {shown(str(whole))}; "
                f"move one of the two away"
            )
    try:
        for place, new, old in ways:
            if there(new) and there(place):
                place.rename(old)
        for place, new, _ in reversed(ways):
            if there(new):
                new.rename(place)
    except OSError:
        for place, new, old in reversed(ways):
            if there(place) and not there(new):
                place.rename(new)
            if there(old) and not there(place):
                old.rename(place)
        raise
    settle(whole.parent)
    _discard(whole)


def _discard(whole: Path) -> None:
    """Throw away what is no longer needed, so that a half-removed one is removed by any sweep."""
    trash = _hidden_name(whole)
    whole.rename(trash)
    _remove(trash)


def _inode(place: Path) -> int | None:
    return place.lstat().st_ino if os.path.lexists(place) else None


def _hidden_name(place: Path) -> Path:
    return place.with_name(f".{_short(place.name)}.{secrets.token_hex(8)}.lensdepth")


def _short(name: str) -> str:
    return os.fsencode(name.lstrip("."))[:LONGEST].decode(errors="ignore")


def _make(place: Path, *, folder: bool) -> tuple[Path, int | None]:
    """A new file or folder, with a lock on it where there are locks."""
    while True:
        path = _hidden_name(place)
        if folder:
            path.mkdir(mode=0o700)
            try:
                handle = None if fcntl is None else os.open(path, os.O_RDONLY)
            except FileNotFoundError:  # swept already
                continue
        else:
            # The kernel applies the umask, which a process cannot ask for without changing it.
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None or handle is None:
            _let_go(handle)  # Windows renames no file that is open
            return path, None
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        # A sweep may have come between the two, when there was no lock.
        if _is_at(handle, path):
            return path, handle
        os.close(handle)


def _lock(path: Path, *, wait: bool) -> int:
    """Lock what another run of the same user made.

    Raises:
        BlockingIOError: it is held. FileNotFoundError: it is gone, or another is in its place.
        PermissionError: it is not ours. OSError: there are no locks here.
    """
    if fcntl is None:
        raise OSError(errno.ENOSYS, "no locks")
    about = path.lstat()
    is_folder = stat.S_ISDIR(about.st_mode)
    if about.st_uid != os.geteuid() or not (is_folder or stat.S_ISREG(about.st_mode)):
        raise PermissionError(f"{shown(str(path))} is in the way, and is another user's")
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if not _is_at(handle, path):
            raise FileNotFoundError(errno.ENOENT, "gone", str(path))
    except OSError:
        os.close(handle)
        raise
    return handle


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _let_go(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
