"""`python -m worker`, and the console script."""

from scheduler.starting import start


def main() -> None:
    """Run `worker`."""
    start("worker.cli")


if __name__ == "__main__":
    main()
