"""Published workbooks (xlsx) as rows of words."""

from __future__ import annotations

from pathlib import Path

from affectkit_plugins.datasets._annotations import there

from affectkit.errors import InputError, Problem


def sheet(path: Path) -> list[tuple[str, list[str]]]:
    """(place, cells as words) of each row of the first sheet that holds anything; whole numbers without a point.

    Raises InputError.
    """
    import openpyxl

    there(path)
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        rows = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
        book.close()
    except Exception as error:  # openpyxl raises what zip, XML and its own code do
        raise InputError(
            Problem(str(path), f"cannot be read as a workbook ({type(error).__name__}: {error})")
        ) from None
    cells = ((f"{path} row {i}", [_word(value) for value in row]) for i, row in enumerate(rows, 1))
    return [(place, row) for place, row in cells if any(row)]


def _word(value: object) -> str:
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
