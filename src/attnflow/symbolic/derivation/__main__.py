"""``python -m attnflow.symbolic.derivation``: derive the built-in paradigms afresh and write them.

To be run after a change of what derives; a test says when. Until then the steps are derived on use.
"""

import json
from itertools import combinations
from typing import Any

from attnflow.symbolic.catalogue import CATALOGUE
from attnflow.symbolic.derivation import shipped, time_steps
from attnflow.symbolic.derivation.derived import fresh_steps
from attnflow.symbolic.derivation.step import Step, UncheckedStep


def fresh_document() -> dict[str, Any]:
    """The steps of every built-in paradigm and of where each two of them part, derived now.

    Raises:
        UncheckedStep: a part of them would be left out.
    """
    steps: dict[str, tuple[Step, ...]] = {}
    for one in CATALOGUE.values():
        steps[shipped.key(one)], left_out = fresh_steps(one)
        if left_out:
            raise UncheckedStep(f"{one}: {' '.join(left_out)}")
    for pair in combinations(CATALOGUE.values(), 2):
        steps[shipped.key(*pair)] = tuple(time_steps.parting(*pair))
    return shipped.document(steps)


if __name__ == "__main__":
    lines = json.dumps(fresh_document(), ensure_ascii=False, separators=(",", ":"))
    # a node or a step a line: what a change of the derivation changes can be read
    with shipped.PLACE.open("w", encoding="utf-8", newline="\n") as file:
        file.write(lines.replace("],[", "],\n[") + "\n")
    print(shipped.PLACE)
