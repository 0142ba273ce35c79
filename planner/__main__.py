"""`python -m planner`, and the console script."""

from scheduler.starting import start


def main() -> None:
    """Run `planner`."""
    start("planner.cli")


if __name__ == "__main__":
    main()
