"""Files: whole or not at all, equal when read back; and what the environment report holds."""

import errno
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from attnflow import environment
from attnflow.errors import SettingError
from attnflow.files import (
    atomic,
    check_place,
    load_dataset,
    new_folder,
    save_dataset,
    save_json,
    save_text,
)
from attnflow.numeric.compare import compare, summary
from attnflow.plots.style import new_figure, save
from attnflow.settings import Setting
from attnflow.symbolic.catalogue import HARD, SOFT
from attnflow.symbolic.paradigm import Paradigm


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    # one paradigm without closed form, so that there are NaN and a note
    mixed = Paradigm("mixed", SOFT.loss / 2 + HARD.loss / 2, title="Soft \u00d7 hard")
    return compare(("hard", mixed), Setting(5, 4), points=41, command="attnflow compare")


def test_a_dataset_reads_back_equal(dataset: xr.Dataset, tmp_path: Path) -> None:
    path = save_dataset(dataset, tmp_path / "new" / "curves.nc")
    again = load_dataset(path)
    xr.testing.assert_identical(again, dataset)
    for name, values in dataset.variables.items():
        assert again[name].dtype.kind in (values.dtype.kind, "O"), name
    assert again["computed"].dtype == bool
    np.testing.assert_array_equal(again.attrs["initial"], dataset.attrs["initial"])
    assert summary(again) == summary(dataset)


def test_equal_datasets_give_equal_bytes(dataset: xr.Dataset, tmp_path: Path) -> None:
    one, two = (save_dataset(dataset, tmp_path / name) for name in ("one.nc", "two.nc"))
    assert one.read_bytes() == two.read_bytes()


def test_a_loaded_file_is_closed_and_can_be_replaced(dataset: xr.Dataset, tmp_path: Path) -> None:
    path = save_dataset(dataset, tmp_path / "curves.nc")
    again = load_dataset(path)
    save_dataset(again.isel(time=slice(0, 5)), path)
    assert load_dataset(path).sizes["time"] == 5
    assert again.sizes["time"] == 41


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = save_text(tmp_path / "text", "before")
    with pytest.raises(KeyboardInterrupt), atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["text"]


def test_a_written_file_has_the_permissions_of_the_mask(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        assert save_text(tmp_path / "text", "x").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(mask)


def test_json_with_nan_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    save_json(tmp_path / "good.json", {"a": 0.1})
    assert json.loads((tmp_path / "good.json").read_text()) == {"a": 0.1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_json(tmp_path / "bad.json", {"a": float("nan")})
    assert os.listdir(tmp_path) == ["good.json"]


def test_a_place_that_cannot_be_written_is_refused_by_name(
    dataset: xr.Dataset, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"file/curves.nc' must be a place that can be written"):
        save_dataset(dataset, tmp_path / "file" / "curves.nc")
    with pytest.raises(SettingError, match="must be a file, got a folder of that name"):
        save_dataset(dataset, tmp_path)


def test_what_is_not_a_comparison_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="got no file at .*none.nc"):
        load_dataset(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("not netCDF")
    with pytest.raises(SettingError, match="text.nc', which cannot be read"):
        load_dataset(tmp_path / "text.nc")
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "other.nc", engine="scipy")
    with pytest.raises(SettingError, match="other.nc', which has no variable 'time'"):
        load_dataset(tmp_path / "other.nc")
    with pytest.raises(SettingError, match="which is no regular file"):
        load_dataset(tmp_path)
    (tmp_path / "four.nc").write_bytes(b"\x89HDF\r\n\x1a\nand no more")
    with pytest.raises(SettingError, match="is netCDF 4 and cannot be read .*install netCDF4, or"):
        load_dataset(tmp_path / "four.nc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop_vars("computed"), "has no variable 'computed'"),
        (lambda d: d.drop_vars("title"), "has no variable 'title'"),
        (lambda d: d.isel(method=0), r"has 'method' over \(\), not over \('method',\)"),
        (lambda d: d.transpose(), "has 'mu' over .*'time', 'method', 'paradigm'"),
        (lambda d: d.assign_coords(time=d["time"].values.astype(str)), "has 'time' of .*numbers"),
        (lambda d: d.assign_coords(paradigm=[1, 2]), "has 'paradigm' of int.*must be text"),
        (lambda d: d.assign_attrs(setting="{"), "has a damaged one: its setting is damaged"),
        (lambda d: d.assign_attrs(setting="[]"), "has another setting"),
        (lambda d: d.assign_attrs(initial=1.0), "lacks an attribute, or has a damaged one"),
        (lambda d: d.assign_attrs(tolerance="small"), "lacks an attribute, or has a damaged one"),
        (lambda d: d.assign_coords(quantity=list("abcdefg")), "has deviations of 'a'"),
    ],
)
def test_a_changed_or_damaged_comparison_says_what_it_lacks(dataset, tmp_path, change, message):
    change(dataset).to_netcdf(tmp_path / "a.nc", engine="scipy", format="NETCDF3_64BIT")
    with pytest.raises(SettingError, match=message) as told:
        load_dataset(tmp_path / "a.nc")
    assert "\n" not in str(told.value)


def test_a_comparison_that_xarray_saved_again_reads_alike(dataset, tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    path = save_dataset(dataset, tmp_path / "curves.nc")
    xr.load_dataset(path, engine="scipy").to_netcdf(tmp_path / "four.nc", engine="netcdf4")
    assert (tmp_path / "four.nc").read_bytes().startswith(b"\x89HDF")
    assert summary(load_dataset(tmp_path / "four.nc")) == summary(dataset)


def test_a_truncated_comparison_is_refused(dataset, tmp_path: Path) -> None:
    content = save_dataset(dataset, tmp_path / "curves.nc").read_bytes()
    for cut in (4, 100, 1000, len(content) // 2, len(content) - 900):
        (tmp_path / "cut.nc").write_bytes(content[:cut])
        with pytest.raises(SettingError, match="cut.nc', which "):
            load_dataset(tmp_path / "cut.nc")


def test_the_environment_report_is_plain_and_complete() -> None:
    record = environment.report()
    assert json.loads(json.dumps(record)) == record
    assert set(record["versions"]) >= {"python", "jax", "sympy", "diffrax", "numpy", "xarray"}
    assert record["device"] in record["devices"]
    assert record["x64"] is False
    assert [part["name"] for part in record["optional"]][0] == "LaTeX"
    for part in record["optional"]:
        assert part["present"] == bool(part["found"]) and part["how_to_get"]


def test_a_missing_typesetter_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.typesetter() is None
    assert not environment.optional_parts()[0].present
    program = tmp_path / "tectonic"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert environment.typesetter() == str(program)


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "old").symlink_to(tmp_path / "there" / "file")  # leads to nothing yet
    for text in ("one", "two"):
        save_text(tmp_path / "old", text)
        assert (tmp_path / "old").is_symlink()
        assert (tmp_path / "there" / "file").read_text() == text
    (tmp_path / "folder").symlink_to(tmp_path / "there")
    (tmp_path / "there" / "inner").symlink_to(tmp_path / "elsewhere")
    with new_folder(tmp_path / "folder") as made:
        (made / "inner").write_text("three")
        (made / "more").write_text("four")
    assert (tmp_path / "folder").is_symlink() and (tmp_path / "there" / "inner").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "three"
    assert sorted(os.listdir(tmp_path / "there")) == ["file", "inner", "more"]


def test_a_pipe_or_device_is_written_into_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as pool:
        read = pool.submit((tmp_path / "pipe").read_text)
        save_text(check_place(tmp_path / "pipe", folder=False), "all of it")
        assert read.result(timeout=60) == "all of it"
    assert (tmp_path / "pipe").is_fifo() and os.listdir(tmp_path) == ["pipe"]
    save_text(check_place(os.devnull, folder=False), "gone")
    assert Path(os.devnull).is_char_device()
    (tmp_path / "null").symlink_to(os.devnull)
    save_text(tmp_path / "null", "gone")
    assert (tmp_path / "null").is_symlink() and Path(os.devnull).is_char_device()
    with (tmp_path / "log").open("a") as log:  # as by attnflow ... --out /dev/stdout >> log
        for link, place in (("direct", "/dev/fd"), ("link", f"/proc/{os.getpid()}/fd")):
            log.write(f"before {link}\n")
            log.flush()
            (tmp_path / link).symlink_to(f"{place}/{log.fileno()}")
            save_text(check_place(tmp_path / link, folder=False), f"{link} whole\n")
    told = (tmp_path / "log").read_text().splitlines()
    assert told == ["before direct", "direct whole", "before link", "link whole"]
    with pytest.raises(SettingError, match="out must be a folder, got '/dev/null'"):
        check_place(os.devnull, folder=True)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s"))
        with pytest.raises(SettingError, match="must be a file, got a socket of that name"):
            save_text(tmp_path / "s", "x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_in_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"output '/dev/full' must .* got: No space left"):
        save_text("/dev/full", "x" * 10)
    for write in (atomic, new_folder):
        with pytest.raises(SettingError, match="No space left"), write(tmp_path / "a"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_a_figure_for_which_there_is_no_room_is_told_and_leaves_nothing(tmp_path, ending) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    figure = new_figure(1, 2.0)
    figure.subplots().plot([0, 1], label="some text")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(SettingError, match=f"a.{ending}' must be a place .*: File too large"):
            save(figure, tmp_path / f"a.{ending}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["loop", "a\0b", "", "x" * 300])
def test_what_is_no_name_of_a_place_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    place = tmp_path / name if name else ""
    for write in (lambda: save_text(place, "x"), lambda: check_place(place, folder=False)):
        with pytest.raises(SettingError, match="must (name|be) a place"):
            write()
