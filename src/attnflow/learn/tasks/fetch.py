"""Downloads an official archive: with resume, progress and checksum; whole or not at all."""

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from attnflow.errors import DataError, MissingPart, SettingError
from attnflow.learn.tasks.archives import ARCHIVES, Archive, sha256_of

PIECE = 1 << 18


def fetch(
    name: str,
    folder: str | Path,
    progress: Callable[[int, int | None], None] | None = None,
    *,
    archive: Archive | None = None,
    timeout: float = 30.0,
) -> Path:
    """Download the archive of a data set into a folder, if it is not there.

    A download that was interrupted goes on where it stopped. The file has its name only once its
    checksum is right.

    Args:
        name: "cifar10" or "cifar100".
        folder: where to put it; made if missing.
        progress: called with (bytes so far, bytes in all or None).
        archive: another archive in place of the official one.
        timeout: seconds without an answer after which the network counts as absent.

    Returns:
        The path of the archive.

    Raises:
        SettingError: no such data set.
        MissingPart: there is no network; says what to put where.
        DataError: what came has another checksum; it is removed.
    """
    if archive is None:
        if name not in ARCHIVES:
            raise SettingError(f"data set must be one of {', '.join(ARCHIVES)}, got {name!r}")
        archive = ARCHIVES[name]
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    target, partial = folder / archive.file, folder / f"{archive.file}.part"
    if target.is_file():
        if sha256_of(target) == archive.sha256:
            return target
        raise DataError(
            f"{str(target)!r} is not the official {archive.file} (wrong SHA-256): remove it first"
        )
    try:
        _download(archive.url, partial, progress, timeout)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise MissingPart(
            f"cannot download {archive.url} ({reason}): put {archive.file} into {str(folder)!r} "
            f"by other means, or run this again to go on where it stopped"
        ) from error
    found = sha256_of(partial)
    if found != archive.sha256:
        partial.unlink()
        raise DataError(
            f"what {archive.url} gave is not {archive.file}: its SHA-256 is {found}, not "
            f"{archive.sha256}; it was removed"
        )
    os.replace(partial, target)
    return target


def _download(
    url: str, partial: Path, progress: Callable[[int, int | None], None] | None, timeout: float
) -> None:
    done = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # nothing is left to send: the checksum decides
            return
        raise
    with response:
        if response.status != 206:
            done = 0  # the server sends it from the start
        length = response.headers.get("Content-Length")
        total = None if length is None else int(length) + done
        with partial.open("ab" if done else "wb") as file:
            while piece := response.read(PIECE):
                file.write(piece)
                done += len(piece)
                if progress is not None:
                    progress(done, total)
    if total is not None and done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")
