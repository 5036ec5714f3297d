"""What is said of paths that lead to nothing, and of names that are nearly known."""

import pytest

from cmad.paths import expect_folder, expect_there, user_path, what_is
from cmad.spelling import meant


def test_what_is_not_there_is_said_with_what_lies_beside_it(tmp_path):
    (tmp_path / "incoming").mkdir()
    (tmp_path / "part.cmad").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"none: no such file or folder; more$"):
        expect_there(tmp_path / "none", "; more")
    with pytest.raises(FileNotFoundError, match=r"folder; did you mean .*/incoming\?$"):
        expect_folder(tmp_path / "incomming")
    with pytest.raises(FileNotFoundError, match=r"; did you mean .*/part\.cmad\?$"):
        expect_there(tmp_path / "prat.cmad", "; more")
    with pytest.raises(FileNotFoundError, match=r"new\.cmad: no such file or folder$"):
        expect_there(tmp_path / "new.cmad")  # not for the extension alone
    with pytest.raises(FileNotFoundError, match=r"a: no such file or folder$"):
        expect_there(tmp_path / "nothing" / "a")
    expect_folder(tmp_path / "incoming")
    expect_there(tmp_path / "part.cmad")


def test_a_model_and_a_file_are_no_folders(tmp_path):
    for name, kind in (("part.CMAD", "a model"), ("a.png", "a file")):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(NotADirectoryError, match=rf"{name} is {kind}, not a folder$"):
            expect_folder(tmp_path / name)
    assert what_is(tmp_path) == "a folder"
    assert user_path("~nobody-of-that-name/a").name == "a"


def test_a_name_is_suggested_where_it_is_near():
    assert meant("cmf", ["cfm", "patchcore"]) == "; did you mean 'cfm'?"
    assert meant("BAGLE", ["bagel", "tire"]) == "; did you mean 'bagel'?"
    assert meant("tyre", ["bagel", "tire"]) == "; did you mean 'tire'?"
    assert meant("wheel", ["bagel", "tire", None]) == ""
    assert meant(3, []) == ""
