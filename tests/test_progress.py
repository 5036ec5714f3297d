"""Progress: lines in logs by a fake clock, a bar in a fake notebook, nothing where not wanted."""

import io
import sys
from types import SimpleNamespace

import pytest

from cmad import progress
from cmad.progress import bar, duration


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(progress, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def work(clock, total, seconds, *, steps=None, what="training", broken=None, **options):
    with bar(what, total, **options) as step:
        for i in range(total if steps is None else steps):
            clock.now += seconds
            step(f"loss {i}")
            if broken is not None:
                raise broken


def test_a_log_gets_a_line_every_30_s_with_count_rate_and_time_left(clock, capsys):
    work(clock, 10, 11)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "training: 3 of 10, 11.0 s each, 1 min 17 s left, loss 2",
        "training: 6 of 10, 11.0 s each, 44 s left, loss 5",
        "training: 9 of 10, 11.0 s each, 11 s left, loss 8",
        "training: 10 done in 1 min 50 s",
    ]


def test_short_work_leaves_a_log_clean(clock, capsys):
    work(clock, 299, 0.1)
    assert capsys.readouterr().err == ""


def test_work_of_a_single_long_step_says_that_it_is_done(clock, capsys):
    work(clock, 1, 30)
    assert capsys.readouterr().err == "training: 1 done in 30 s\n"


def test_the_rate_is_that_since_the_line_before(clock, capsys):
    """What a cache knew went fast; what is left will not."""
    with bar("extracting", 400) as step:
        for seconds in [0.25] * 120 + [10] * 3:
            clock.now += seconds
            step()
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "extracting: 120 of 400, 4.0 per s, 1 min 10 s left"
    assert second == "extracting: 123 of 400, 10.0 s each, 46 min 10 s left"


def test_unknown_work_has_a_count_and_a_rate(clock, capsys):
    work(clock, None, 31, steps=1)
    assert capsys.readouterr().err.splitlines()[0] == "training: 1, 31.0 s each, loss 0"


def test_work_that_fails_is_not_called_done(clock, capsys):
    with pytest.raises(KeyError):
        work(clock, 9, 40, broken=KeyError)
    assert capsys.readouterr().err == "training: 1 of 9, 40.0 s each, 5 min 20 s left, loss 0\n"


def test_nothing_is_shown_where_it_is_not_wanted(clock, capsys, notebook):
    work(clock, 9, 40, show=False)
    assert capsys.readouterr() == ("", "")
    assert notebook == []


def test_a_closed_log_does_not_end_the_work(clock, monkeypatch):
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        work(clock, 3, 40)


@pytest.fixture
def notebook(monkeypatch):
    """A kernel without widgets; lists the states that its page is given."""
    states = []

    def display(shown, display_id):
        assert display_id is True
        states.append(shown._repr_mimebundle_(include=None, exclude=None))
        return SimpleNamespace(update=lambda s: states.append(s._repr_mimebundle_()))

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    return states


def test_a_notebook_gets_a_bar_that_is_drawn_in_its_place(clock, notebook, capsys):
    work(clock, 8, 0.1)
    assert capsys.readouterr() == ("", "")
    first, *_, last = notebook
    assert '<progress value="0" max="8">' in first["text/html"]
    assert '<progress value="8" max="8">' in last["text/html"]
    assert last["text/plain"] == "training: 8 of 8, 10.0 per s, 0 s left, loss 7"
    assert len(notebook) == 6  # not one for each step: at the start, every 0.2 s, at the end


def test_a_notebooks_bar_shows_where_the_work_stopped(clock, notebook):
    with pytest.raises(KeyboardInterrupt):
        work(clock, None, 0.1, steps=2, what="<b>", broken=KeyboardInterrupt)
    assert "<progress></progress> &lt;b&gt;: 1, 10.0 per s, loss 0" in notebook[-1]["text/html"]


def test_a_shell_on_a_terminal_is_no_notebook(clock, notebook, monkeypatch):
    shell = SimpleNamespace(kernel=None)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    work(clock, 3, 1)
    assert notebook == []


def test_a_terminal_gets_a_bar_and_no_lines(clock, monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    work(clock, 3, 40)
    assert "3/3" in screen.getvalue()
    assert "s each" not in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (595, "9 min 55 s"),
        (3600, "1 h 00 min"),
        (93784, "26 h 03 min"),
    ],
)
def test_times_are_read_at_once(seconds, text):
    assert duration(seconds) == text
