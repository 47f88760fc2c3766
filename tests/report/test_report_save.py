"""Saving: whole or not at all, never over somebody else's file, each refusal in a sentence."""

import os
import re
import stat

import pytest

from thalweg._errors import ThalwegError
from thalweg.report import Page, Tone, check_writable

PAGE = Page("t", "It trains", Tone.GOOD)


def test_saves_and_returns_the_file(tmp_path):
    path = PAGE.save(tmp_path / "report.html")
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == PAGE.html()
    assert os.listdir(tmp_path) == ["report.html"]


def test_the_file_may_be_read_by_whom_the_umask_allows(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    mode = stat.S_IMODE(PAGE.save(tmp_path / "report.html").stat().st_mode)
    assert mode == stat.S_IMODE(plain.stat().st_mode)


def test_replaces_its_own_page(tmp_path):
    path = Page("old", "It does not train", Tone.BAD).save(tmp_path / "report.html")
    PAGE.save(str(path))
    assert path.read_text(encoding="utf-8") == PAGE.html()


def test_fills_an_empty_file(tmp_path):
    path = tmp_path / "report.html"
    path.touch()
    PAGE.save(path)
    assert path.stat().st_size > 0


def test_follows_a_link(tmp_path):
    link = tmp_path / "link.html"
    link.symlink_to(tmp_path / "report.html")
    assert PAGE.save(link) == tmp_path / "report.html"
    assert link.is_symlink()


@pytest.mark.parametrize("content", [b"<!doctype html><p>mine", b"\xff\xfe\x00", b"x" * 10_000])
def test_refuses_somebody_elses_file(tmp_path, content):
    path = tmp_path / "thesis.html"
    path.write_bytes(content)
    for save in (PAGE.save, check_writable):
        with pytest.raises(ThalwegError, match=r"thalweg did not write it; choose another --out"):
            save(path)
    assert path.read_bytes() == content


def test_refuses_a_missing_directory_and_makes_none(tmp_path):
    where = re.escape(str(tmp_path / "missing"))
    for save in (PAGE.save, check_writable):
        with pytest.raises(ThalwegError, match=f"no directory {where}; create it, or choose"):
            save(tmp_path / "missing" / "report.html")
    assert os.listdir(tmp_path) == []


def test_refuses_a_directory(tmp_path):
    with pytest.raises(ThalwegError, match="it is a directory; choose a file"):
        PAGE.save(tmp_path)


def test_refuses_what_is_no_file():
    with pytest.raises(ThalwegError, match="it is no ordinary file"):
        check_writable("/dev/null")


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs a directory closed even to root")
def test_refuses_a_directory_that_cannot_be_written():
    with pytest.raises(ThalwegError, match=r"cannot save /proc/report.html: .+; choose another"):
        check_writable("/proc/report.html")


def test_checking_leaves_nothing_behind(tmp_path):
    assert check_writable(tmp_path / "report.html") == tmp_path / "report.html"
    assert os.listdir(tmp_path) == []


def test_a_write_that_breaks_off_leaves_the_old_page(tmp_path, monkeypatch):
    path = PAGE.save(tmp_path / "report.html")
    old = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ThalwegError, match="No space left on device; choose another --out"):
        Page("new", "It does not train", Tone.BAD).save(path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["report.html"]
