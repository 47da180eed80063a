"""The command line: one file a command; each parses, calls the library, and prints."""

from gradflow.cli.entry import application, main

__all__ = ["application", "main"]
