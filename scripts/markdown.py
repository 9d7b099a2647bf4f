"""Tables as the scripts print them, ready for `docs/measurements.md`."""


def head(title: str, *columns: str) -> None:
    """Print a title and the head of a table."""
    print(f"\n### {title}\n")
    row(*columns)
    row(*("---" for _ in columns))


def row(*cells: object) -> None:
    """Print one row, at once."""
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)
