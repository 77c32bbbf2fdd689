"""Results that are tables as well: how notebooks show them."""

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class Tabled:
    """A result that ``to_pandas`` turns into a table; notebooks show the ends of it."""

    def to_pandas(self) -> "pd.DataFrame":
        """The result as a table."""
        raise NotImplementedError

    def _preview(self) -> "pd.DataFrame | None":
        """What a notebook shows of the table; None where there is none yet."""
        return self.to_pandas()

    def _repr_html_(self) -> str:
        head, table = html.escape(repr(self).splitlines()[0]), self._preview()
        return f"<p>{head}</p>" + ("" if table is None else table.to_html(max_rows=8, max_cols=12))
