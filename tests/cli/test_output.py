"""Where ``--out`` leads: through links, into pipes, never in place of them."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from attnflow.cli import output, process, run
from attnflow.cli.solve import Asked, record
from attnflow.errors import IntegrationFailed
from attnflow.numeric.trajectory import Trajectory
from attnflow.settings import Setting
from attnflow.symbolic.catalogue import SOFT

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


def test_what_is_being_done_is_said_after_a_while_and_not_at_every_step(monkeypatch, capsys):
    with output.progress("quickly"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(output, "PATIENCE", 0.05)
    with output.progress("first") as update:
        time.sleep(0.2)
        for name in ("second", "third"):
            update(name)
        time.sleep(0.2)
        update("last")
    lines = capsys.readouterr().err.splitlines()
    # the second is said at once, or the third in its place
    assert lines[0] == "attnflow: first ..." and lines[-1] in (
        "attnflow: third ...",
        "attnflow: second ...",
        "attnflow: last ...",
    )
    assert 2 <= len(lines) <= 4


def test_nothing_that_is_told_steers_a_terminal(capsys):
    output.say("a\x1b[2Jb\x9bc")
    output.table("\x1b[31mred", ["name"], [["\x1b]0;x"]], "\x07")
    told = capsys.readouterr()
    assert not set("\x1b\x9b\x07") & set(told.out + told.err)


def test_half_a_character_is_escaped_in_json():
    text = output.to_json({"file": "a\udc80b", "letter": "\N{GREEK SMALL LETTER NU}"})
    text.encode("utf-8")
    assert json.loads(text) == {"file": "a\udc80b", "letter": "\N{GREEK SMALL LETTER NU}"}


@pytest.mark.parametrize(
    ("text", "encoding", "written"),
    [
        ("\N{GREEK SMALL LETTER MU}' = \N{MINUS SIGN}2", "ascii", "mu' = -2"),
        ("\N{GREEK CAPITAL LETTER PHI}, \N{GREEK SMALL LETTER NU}", "cp1252", "phi, nu"),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}\N{SNOWMAN}\udc80", "ascii", "e??"),
    ],
)
def test_what_an_encoding_lacks_is_written_by_name(text, encoding, written):
    process.codecs.register_error("attnflow-names", process.named)
    assert text.encode(encoding, "attnflow-names").decode(encoding) == written


@pytest.mark.parametrize("body", ["import sys; sys.exit(7)", "raise BaseException('\x1b[31m')"])
def test_a_file_that_ends_the_program_is_refused(attnflow, tmp_path, body):
    (tmp_path / "mine.py").write_text(body)
    code, out, err = attnflow("solve", "--paradigm-file", "mine.py:MINE", "--times", "1")
    assert (code, out) == (2, "") and "'mine.py' cannot be run: " in err and "\x1b" not in err


def test_what_is_no_number_is_not_given_out():
    curve = Trajectory(
        times=np.array([0.0, 5.0]),
        mu=np.array([0.0, np.nan]),
        nu=np.zeros(2),
        setting=Setting(3, 4),
        stage=np.zeros(2, np.int64),
        paradigms=(SOFT,),
        method="closed form",
    )
    asked = Asked([SOFT], Setting(3, 4), curve.times, (0.0, 0.0), None, None)
    with pytest.raises(IntegrationFailed, match="mu of soft is no number at t = 5: .* earlier"):
        record(SOFT, asked, curve)


def test_programs_are_kept_where_the_user_keeps_caches(tmp_path, monkeypatch):
    monkeypatch.setattr(process.os, "environ", {"XDG_CACHE_HOME": str(tmp_path)})
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    process.keep_programs()
    place = process.os.environ["JAX_COMPILATION_CACHE_DIR"]
    assert place.startswith(str(tmp_path / "attnflow" / "programs"))
    assert int(process.os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"]) == process.MOST_KEPT
    for given in ({"JAX_COMPILATION_CACHE_DIR": "/elsewhere"}, {}):
        (tmp_path / "file").write_text("")
        monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "file" / name)
        monkeypatch.setattr(process.os, "environ", dict(given))
        process.keep_programs()
        assert process.os.environ == given
