"""Adapters: our attacks in the two-argument form of other libraries, and their attacks as ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hardy.attacks.attack import Attack, Forward, Iterative, kind
from hardy.attacks.balls import L2, Ball, Linf, fraction
from hardy.describe import Json, describe, fitted
from hardy.errors import UsageError
from hardy.randomness import Noise
from hardy.types import Images, Labels

_SAME = 1e-6  # relative; another library's eps may come from a float32
_SHARED = {"builtins", "abc", "typing", "torch"}  # where classes of any library may come from


def bind(attack: Attack, model: Forward, noise: Noise | None = None) -> Callable[[Images, Labels], Images]:
    """The attack on one network, called as torchattacks' are: with images and labels alone.

    Images and labels are moved to the network's device. noise: left out, a fixed seed.

    Raises: UsageError where the one is no attack, or the other no function; when called, what the attack raises.
    """
    fitted(attack, Attack, "attack")
    if not callable(model):
        raise UsageError(f"The network is {kind(model)}; it must be a module, or another function of images.")
    parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None

    def bound(images: Images, labels: Labels) -> Images:
        if parameter is not None and isinstance(images, Tensor) and isinstance(labels, Tensor):
            images, labels = images.to(parameter.device), labels.to(parameter.device)
        return attack(model, images, labels, noise)

    return bound


@dataclass(frozen=True)
class Foreign(Attack):
    """An attack of torchattacks, foolbox or (py)autoattack, or a function (network, images, labels) -> adversarial images.

    attack: the object, with its own settings. Of the network that it was made with nothing is used: it is run on the one
    given, and handed back its own afterwards. ball: in which it is judged; what lies outside is projected. Its random numbers
    are torch's, seeded from the noise unless it sets a seed itself, and depend on the batch.

    Raises: UsageError for an attack of no such kind, or one made for another norm or radius than the ball's.
    """

    attack: Any
    ball: Ball

    def __post_init__(self) -> None:
        fitted(self.ball, Ball, "ball")
        if isinstance(self.attack, Attack | type) or not (callable(self.attack) or self._evaluates):
            raise UsageError(
                f"attack is {self.attack!r}; it must be an attack object of torchattacks, foolbox or pyautoattack, or a "
                "function of network, images and labels."
            )
        norm, eps = _norm(self.attack), _radius(self.attack)
        own = "Linf" if isinstance(self.ball, Linf) else "L2" if isinstance(self.ball, L2) else ""
        if norm is not None and own and norm != own:
            raise UsageError(f"{type(self.attack).__name__} was made for {norm}; the ball is {self.ball}.")
        if eps is not None and abs(eps - self.ball.eps) > _SAME * self.ball.eps:
            raise UsageError(
                f"{type(self.attack).__name__} was made with a radius of {fraction(eps)}; the ball is {self.ball}. "
                "Give both the same."
            )

    @property
    def stages(self) -> tuple[Iterative, ...]:
        return ()

    @property
    def summary(self) -> str:
        listed = ", ".join(f"{name}={value}" for name, value in _settings(self.attack).items() if _is_plain(value))
        return f"{self._library}'s {self._name}({listed}), {self.ball}"

    @property
    def described(self) -> Json:
        return {
            "type": "Foreign",
            "library": self._library,
            "attack": {"name": self._name, **_settings(self.attack)},
            "ball": describe(self.ball),
        }

    @property
    def _library(self) -> str:
        return str(getattr(self.attack, "__module__", "")).partition(".")[0]

    @property
    def _name(self) -> str:
        return str(getattr(self.attack, "__name__", type(self.attack).__name__))

    @property
    def _evaluates(self) -> bool:
        return callable(getattr(self.attack, "run_standard_evaluation", None))

    def perturb(self, f: Forward, x: Images, target: Any, noise: Noise) -> Images:
        network, shown = _Network(f, x.dtype).eval(), x.clamp(0, 1)  # they refuse pixels that rounding left outside
        with _seeded(x, noise), torch.enable_grad():
            x_adv = self._run(network, shown, target)
        if not isinstance(x_adv, Tensor) or x_adv.shape != x.shape:
            raise UsageError(f"{self._name} gives {kind(x_adv)} for images {kind(x)}; it must give as many images.")
        return self.ball.project(x_adv.detach().to(x), x)

    def _run(self, network: nn.Module, x: Images, y: Labels) -> Any:
        if "foolbox" in _packages(self.attack):
            from foolbox.models.pytorch import PyTorchModel

            theirs = PyTorchModel(network, bounds=(0, 1), device=x.device)
            return self.attack(theirs, x, y, epsilons=self.ball.eps)[1]
        if "model" not in getattr(self.attack, "__dict__", {}):
            return self.attack(network, x, y)
        with _rebound(self.attack, network, x.device):
            found = self.attack.run_standard_evaluation(x.float(), y) if self._evaluates else self.attack(x, y)
        return found[0] if isinstance(found, tuple) else found  # pyautoattack gives the predictions too


class _Network(nn.Module):
    """A function as the module that other libraries want; they may set its mode, which is not that of what is inside."""

    def __init__(self, f: Forward, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.f = (f,)  # in a tuple, torch does not take it for a part of this module

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.f[0](x.to(self.dtype))  # autoattack computes in float32 alone
        return logits


@contextmanager
def _seeded(x: Images, noise: Noise) -> Iterator[None]:
    """Torch's global generator, seeded by the first row's numbers and restored afterwards: other libraries draw from it."""
    seed = int(noise.derive("foreign").bits((1,))[0]) if len(noise) else 0
    with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _rebound(attack: Any, network: nn.Module, device: torch.device) -> Iterator[None]:
    """Wherever the attack, and the attacks within it, keep its model, they keep this network; on exit all is as it was."""
    places = _places(attack, attack.model, set())
    owners = list({id(owner): owner for owner, _ in places}.values())
    before = [dict(vars(owner)) for owner in owners]
    try:
        for owner, name in places:
            setattr(owner, name, network)
        for owner in owners:
            if "device" in vars(owner):
                owner.device = device
        yield
    finally:
        for owner, kept in zip(owners, before, strict=True):
            vars(owner).clear()
            vars(owner).update(kept)


def _places(value: Any, model: object, seen: set[int]) -> list[tuple[Any, str]]:
    """(object, attribute) wherever the model is held in an object of the same library, lists and dictionaries looked into."""
    if id(value) in seen:
        return []
    seen.add(id(value))
    if isinstance(value, list | tuple | dict):
        inside = value.values() if isinstance(value, dict) else value
        return [place for item in inside if _holds(item) for place in _places(item, model, seen)]
    found = []
    for name, item in list(vars(value).items()):
        if item is model:
            found.append((value, name))
        elif _holds(item) and (isinstance(item, list | tuple | dict) or _packages(item) & _packages(value)):
            found += _places(item, model, seen)
    return found


def _holds(value: Any) -> bool:
    """Whether other attacks may be inside."""
    if isinstance(value, nn.Module | Tensor | type):
        return False
    return isinstance(value, list | tuple | dict) or "__dict__" in dir(value)


def _packages(value: Any) -> set[str]:
    """The libraries that an object's classes come from."""
    return {cls.__module__.partition(".")[0] for cls in type(value).__mro__} - _SHARED


def _norm(attack: Any) -> str | None:
    """The norm an attack says that it is for: autoattack as text, foolbox as the p of its distance."""
    said = getattr(attack, "norm", None)
    if isinstance(said, str):
        return said
    p = getattr(getattr(attack, "distance", None), "p", None)
    return None if p is None else f"L{float(p):g}"


def _radius(attack: Any) -> float | None:
    """The radius an attack says that it has: torchattacks as eps, autoattack as epsilon."""
    said = getattr(attack, "eps", getattr(attack, "epsilon", None))
    return float(said) if isinstance(said, int | float) else None


def _settings(value: Any, above: tuple[int, ...] = ()) -> dict[str, Any]:
    """What of its attributes is plain, and the same of the attacks within it: settings that no library has to name."""
    found: dict[str, Any] = {}
    above = (*above, id(value))
    for name, item in getattr(value, "__dict__", {}).items():
        several = item if isinstance(item, list | tuple) else [item]
        inside = [one for one in several if _holds(one) and _packages(one) & _packages(value) and id(one) not in above]
        if name[0] != "_" and _is_plain(item):
            found[name] = item
        elif name[0] != "_" and inside:
            described = [_settings(one, above) for one in inside]
            found[name] = described if isinstance(item, list | tuple) else described[0]
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(item, bool | int | float | str) for item in value)
    return value is None or isinstance(value, bool | int | float | str)
