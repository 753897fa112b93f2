"""`python -m headstart.cli` is the command `headstart`."""

from headstart.cli.main import command

if __name__ == "__main__":
    command()
