"""Where ``--out`` leads: through links, into pipes, never in place of them."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from attnflow.cli import run

COMMANDS = {
    ".py": ("export", "--paradigm", "soft"),
    ".csv": ("solve", "--paradigm", "soft", "--times", "1,2"),
    ".html": ("explore", "--paradigm", "soft"),
}


@pytest.mark.parametrize("ending", COMMANDS)
def test_out_writes_through_a_link_and_into_a_pipe(tmp_path, ending):
    link, pipe = tmp_path / f"link{ending}", tmp_path / f"pipe{ending}"
    link.symlink_to(tmp_path / "file")
    os.mkfifo(pipe)
    assert run([*COMMANDS[ending], "--out", str(link)]) == 0
    assert link.is_symlink()
    with ThreadPoolExecutor() as pool:
        got = pool.submit(pipe.read_bytes)
        assert run([*COMMANDS[ending], "--out", str(pipe)]) == 0
        assert got.result(timeout=60) == (tmp_path / "file").read_bytes() != b""
    assert pipe.is_fifo() and len(os.listdir(tmp_path)) == 3


def test_a_comparison_goes_through_a_link_to_its_folder(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    few = ("compare", "-p", "soft", "--times", "1,2", "--out")
    assert run([*few, str(tmp_path / "link")]) == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "curves.nc").is_file()
    os.mkfifo(tmp_path / "pipe")
    assert run([*few, str(tmp_path / "pipe")]) == 2
