"""The path of an attack: its images after each wanted number of iterations, of one run to the end."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from hardy.attacks.attack import Attack, Forward, Iterative, check_found
from hardy.describe import fitted, require
from hardy.errors import UsageError
from hardy.randomness import Noise
from hardy.types import Images

Tell = Callable[[int, int], None]  # (done, of how much): progress


def walk(
    f: Forward, attack: Iterative, x: Images, target: Any, noise: Noise, counts: Sequence[int]
) -> Iterator[tuple[int, Images]]:
    """(count, the attack's images after that many iterations), for each of the ascending counts; 0 is where it starts.

    Where an attack's iterations do not depend on how many are to come, as PGD's do not, these are the images of separate
    attacks with as many iterations each. The network is frozen by the caller.

    Raises: FailedError for NaN or infinite pixels.
    """
    states = attack.states(attack.view(f), x, target, noise)
    state = next(states)
    made = 0
    for count in counts:
        for state in islice(states, count - made):  # noqa: B007 - the newest is wanted
            made += 1
        check_found(state.x_adv)
        yield count, state.x_adv


def one_path(attack: Attack, counts: Sequence[int]) -> Iterative:
    """The attack, if it is a single path that is at least as long as the largest count.

    Raises: UsageError if not.
    """
    if not isinstance(attack, Iterative):
        raise UsageError(
            f"The attack is {attack.summary!r}; its steps can be told apart only where it is one run of iterations, as PGD is."
        )
    require(counts[-1] <= attack.iterations, "steps", counts[-1], f"at most {attack.iterations}, those of the attack")
    return attack


def ascending(counts: Sequence[int], name: str, least: int) -> tuple[int, ...]:
    """The counts in order. Raises: UsageError unless there is one, all are integers, at least `least`, and they differ."""
    made = fitted(tuple(counts), tuple[int, ...], name)
    require(bool(made), name, made, "at least one number")
    for count in made:
        require(count >= least, name, count, f"at least {least}")
    require(len(set(made)) == len(made), name, made, "numbers that differ")
    return tuple(sorted(made))
