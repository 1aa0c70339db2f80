"""Average: the mean accuracy of a network over several attacks, with an interval, from the attacks' own rows.

    value = mean over attacks of accuracy,   interval = [mean of the low ends, mean of the high ends]

The spread of a mean is at most the mean of the spreads: where all attacks break the same images the interval is Wilson's, else
it is wider than need be, never narrower. The verdicts on single images are not needed, so that known rows will do, also those
of a costly attack that was made on fewer images than the others.

Source:  RLFAT paper, section 4.4 and Fig. 2: "the average robust accuracy over all the attacks".
"""

from collections.abc import Sequence
from dataclasses import replace

from hardy.describe import require
from hardy.results import Measurement

_OF_AN_ATTACK = ("attack", "summary", "judge", "correct after", "illegal", "by class")  # settings of one row alone


def average_accuracy(rows: Sequence[Measurement], names: Sequence[str]) -> Measurement:
    """The row of the unweighted mean of accuracies of one network, each under an attack of that name.

    Its settings have the attacks' descriptions under "attacks", by name; its n is the smallest of theirs, and its costs are
    those of all.

    Raises: UsageError for no rows, names that are not one for each, or rows that are no accuracies.
    """
    require(
        bool(rows) and len(names) == len(rows),
        "names",
        list(names),
        f"one for each row, of which there are {len(rows)}",
    )
    ends = [(row.low, row.high) for row in rows if row.low is not None and row.high is not None]
    fits = len(ends) == len(rows)
    require(fits, "rows", [row.what for row in rows], "accuracies with intervals")
    about = {key: value for key, value in rows[0].settings.items() if key not in _OF_AN_ATTACK}
    return replace(
        rows[0],
        what=f"average accuracy under {', '.join(names)}",
        value=sum(row.value for row in rows) / len(rows),
        n=min(row.n for row in rows),
        low=sum(low for low, _ in ends) / len(rows),
        high=sum(high for _, high in ends) / len(rows),
        settings=about | {"attacks": {name: row.settings.get("attack") for name, row in zip(names, rows, strict=True)}},
        seconds=sum(row.seconds for row in rows),
        forwards=sum(row.forwards for row in rows),
        backwards=sum(row.backwards for row in rows),
    )
