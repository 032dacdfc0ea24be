"""`python -m ckptsurgeon`."""

from ckptsurgeon.cli import main

main()
