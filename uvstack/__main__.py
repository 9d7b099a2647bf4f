"""`python -m uvstack`: the same as the command `uvstack`."""

from uvstack.cli.main import main

main()
