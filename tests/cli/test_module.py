"""`python -m cmad` is the command, in a process of its own."""

import subprocess
import sys

import pytest

from cmad.version import __version__


def run(*arguments):
    command = [sys.executable, "-m", "cmad", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_python_m_cmad_is_the_command():
    ran = run("--version")
    assert (ran.returncode, ran.stdout) == (0, f"cmad {__version__}\n"), ran.stderr


@pytest.mark.parametrize("arguments", [["--nonsense"], ["score", "--nonsense"]])
def test_python_m_cmad_ends_with_the_commands_exit_codes(arguments):
    ran = run(*arguments)
    assert ran.returncode == 2
    assert "python -m cmad" in ran.stderr
    assert "Traceback" not in ran.stderr
