"""`python -m cmad`: the command, also where no script of that name is on the path."""

from cmad.cli import main

main()
