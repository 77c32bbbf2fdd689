"""Downloads official data: with resume, progress and check; each file whole or not at all."""

import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from attnflow.errors import DataError, MissingPart, SettingError
from attnflow.reading import read_json
from attnflow.train.data.cifar_archive import ARCHIVES, Archive, sha256_of

PIECE = 1 << 18
FILES = {
    "hatexplain": (
        "https://raw.githubusercontent.com/hate-alert/HateXplain/master/Data/",
        ("dataset.json", "post_id_divisions.json"),
    )
}
"""Data sets of plain JSON files, which have no official checksum: (where, names)."""

Progress = Callable[[int, int | None], None]


def fetch(
    name: str,
    folder: str | Path,
    progress: Progress | None = None,
    *,
    archive: Archive | None = None,
    timeout: float = 30.0,
) -> Path:
    """Download the archive, or the files, of a data set into a folder, if they are not there.

    A download that was interrupted goes on where it stopped. A file has its name only once its
    checksum is right, or, without an official one, once it is read as JSON.

    Args:
        name: "cifar10", "cifar100" or "hatexplain".
        folder: where to put it; made if missing.
        progress: called with (bytes so far, bytes in all or None).
        archive: another archive in place of the official one.
        timeout: seconds without an answer after which the network counts as absent.

    Returns:
        The path of the archive, or the folder of the files.

    Raises:
        SettingError: no such data set, or the folder cannot be made.
        MissingPart: there is no network; says what to put where.
        DataError: what came has another checksum, or is no JSON; it is removed.
    """
    folder = Path(folder).expanduser()
    if archive is None:
        if name in FILES:
            return _fetch_files(*FILES[name], folder, progress, timeout)
        if name not in ARCHIVES:
            known = ", ".join((*ARCHIVES, *FILES))
            raise SettingError(f"data set must be one of {known}, got {name!r}")
        archive = ARCHIVES[name]
    _make(folder)
    target, partial = folder / archive.file, folder / f"{archive.file}.part"
    if target.is_file():
        if sha256_of(target) == archive.sha256:
            return target
        raise DataError(
            f"{str(target)!r} is not the official {archive.file} (wrong SHA-256): remove it first"
        )
    _get(archive.url, partial, target, progress, timeout)
    found = sha256_of(partial)
    if found != archive.sha256:
        partial.unlink()
        raise DataError(
            f"what {archive.url} gave is not {archive.file}: its SHA-256 is {found}, not "
            f"{archive.sha256}; it was removed"
        )
    os.replace(partial, target)
    return target


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(
            f"folder must be one that can be written to, got {str(folder)!r}: {error.strerror}"
        ) from error


def _fetch_files(
    place: str, names: tuple[str, ...], folder: Path, progress: Progress | None, timeout: float
) -> Path:
    _make(folder)
    for name in names:
        target, partial = folder / name, folder / f"{name}.part"
        if target.is_file():
            continue
        _get(place + name, partial, target, progress, timeout)
        try:
            read_json(partial)
        except DataError as error:
            partial.unlink()
            raise DataError(
                f"what {place + name} gave is not {name}: {error}; it was removed"
            ) from error
        os.replace(partial, target)
    return folder


def _get(url: str, partial: Path, target: Path, progress: Progress | None, timeout: float) -> None:
    try:
        _download(url, partial, progress, timeout)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise MissingPart(
            f"cannot download {url} ({reason}): put {target.name} into {str(target.parent)!r} "
            f"by other means, or run this again to go on where it stopped"
        ) from error


def _download(url: str, partial: Path, progress: Progress | None, timeout: float) -> None:
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
        length = response.headers.get("Content-Length") or ""
        total = int(length) + done if re.fullmatch("[0-9]{1,15}", length) else None
        with partial.open("ab" if done else "wb") as file:
            while piece := response.read(PIECE):
                file.write(piece)
                done += len(piece)
                if progress is not None:
                    progress(done, total)
    if total is not None and done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")
