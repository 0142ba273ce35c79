"""`python -m scheduler`, and the console script."""

from scheduler.starting import start


def main() -> None:
    """Run `scheduler`."""
    start("scheduler.cli")


if __name__ == "__main__":
    main()
