"""From the name of a model to the stages of its way: who is asked, and for which name.

A provider with no enabled key for the name is passed over in every step.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from ..errors import ConfigurationError
from .keyspec import KeySpec

# difflib's ratio: "opnai" is a slip of "openai", "mistralai" no slip of "mistral".
SLIP = 0.9
ALMOST = 0.75  # of words in a hint, which does no harm
ROUTES_KEPT = 1024  # names come from callers, so their number has no bound of its own


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """``families``: patterns of models' names in lower case. ``is_broker``: passes requests on
    to upstreams, and its models are named vendor/name. ``vendors``: an upstream's name in
    those, where it differs from the upstream's own. ``variables``: of the environment, that
    hold its keys.
    """

    name: str
    families: tuple[str, ...] = ()
    is_broker: bool = False
    vendors: Mapping[str, str] = field(default_factory=dict)
    variables: tuple[str, ...] = ()

    def has(self, model: str) -> bool:
        """Whether that is a name of its families."""
        small = model.lower()
        return any(fnmatchcase(small, pattern) for pattern in self.families)


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """A stage of a chain: ``model`` for every name, or ``models`` from asked to sent, or the
    name that was asked for. ``options`` are keywords of this stage alone.
    """

    provider: str
    upstream: str | None = None
    model: str | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RouteStage:
    """``model`` is the name to send; None where only a provider is named. ``is_same``: it is the
    model that was asked for, whatever it is called there.
    """

    provider: str
    model: str | None
    upstream: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    is_same: bool = True


class _Served:
    """Which models a set of keys serves, provider by provider in the order of the keys."""

    def __init__(self, providers: Mapping[str, ProviderSpec], keys: Sequence[KeySpec]) -> None:
        self.specs = {key.provider: providers[key.provider] for key in keys}
        self._open = {key.provider for key in keys if key.models is None}
        self._listed: dict[str, dict[str, None]] = {name: {} for name in self.specs}
        for key in keys:
            self._listed[key.provider].update(dict.fromkeys(sorted(key.models or ())))

    def lists(self, provider: str, model: str) -> bool:
        return model in self._listed.get(provider, ())

    def serves(self, provider: str, model: str) -> bool:
        spec = self.specs.get(provider)
        if spec is None:
            return False
        return provider in self._open or any(
            name in self._listed[provider] for name in _spellings(spec, model)
        )

    def home(self, model: str) -> tuple[str, str] | None:
        """The model's own provider, and its name there."""
        for step in _STEPS:
            found = step(self, model)
            if found:
                return found
        return None

    def name_at(self, provider: str, model: str) -> str:
        """``model`` as ``provider`` calls it: without a prefix that names the provider.

        A broker's own models keep it, for all its names have a vendor before the slash.
        """
        prefix, _, rest = model.partition("/")
        spec = self.specs.get(provider)
        is_own = spec is not None and spec.is_broker and "/" not in rest
        if prefix != provider or not rest or is_own or self.lists(provider, model):
            return model
        return rest

    def names(self) -> list[str]:
        return [name for listed in self._listed.values() for name in listed]

    def told(self) -> str:
        """What is served, for people."""
        return "; ".join(f"{provider}: {self._told(provider)}" for provider in self.specs)

    def _told(self, provider: str) -> str:
        names = list(self._listed[provider])
        if provider in self._open:
            names += [re.sub(r"\[.*?\]", "", name) for name in self.specs[provider].families]
            names.append(f"any other as '{provider}/NAME'")
        return ", ".join(names)


def _spellings(spec: ProviderSpec, model: str) -> tuple[str, ...]:
    """The names under which a list may hold ``model``: a broker's also without the vendor."""
    _, slash, rest = model.partition("/")
    return (model, rest) if spec.is_broker and slash else (model,)


def _by_list(served: _Served, model: str) -> tuple[str, str] | None:
    return next(((name, model) for name in served.specs if served.lists(name, model)), None)


def _by_prefix(served: _Served, model: str) -> tuple[str, str] | None:
    provider, _, _ = model.partition("/")
    name = served.name_at(provider, model)
    return (provider, name) if name != model and served.serves(provider, name) else None


def _by_slash(served: _Served, model: str) -> tuple[str, str] | None:
    brokers = (name for name, spec in served.specs.items() if spec.is_broker and "/" in model)
    return next(((name, model) for name in brokers if served.serves(name, model)), None)


def _by_family(served: _Served, model: str) -> tuple[str, str] | None:
    for name, spec in served.specs.items():
        if spec.has(model) and served.serves(name, model):
            return name, model
    return None


def _alone(served: _Served, model: str) -> tuple[str, str] | None:
    names = list(served.specs)
    if len(names) != 1 or _slipped(model, names):
        return None
    return (names[0], model) if served.serves(names[0], model) else None


def _slipped(model: str, providers: Sequence[str], alike: float = SLIP) -> str | None:
    """``model`` with a provider's name before the slash, where what stands there almost is one."""
    prefix, slash, rest = model.partition("/")
    near = difflib.get_close_matches(prefix, providers, 1, alike) if slash else []
    return f"{near[0]}/{rest}" if near and near[0] != prefix else None


# How a model finds its own provider, best first.
_STEPS: tuple[Callable[[_Served, str], tuple[str, str] | None], ...] = (
    _by_list,
    _by_prefix,
    _by_slash,
    _by_family,
    _alone,
)


class Routes:
    """The ways through ``providers``, ``keys`` (in their order) and ``chains`` (by model, by
    provider, or ``"*"``). Made once per configuration; threads may share it.
    """

    def __init__(
        self,
        providers: Mapping[str, ProviderSpec],
        keys: Sequence[KeySpec],
        chains: Mapping[str, Sequence[ChainEntry]],
    ) -> None:
        self._providers = providers
        self._keys = tuple(keys)
        self._chains = chains
        self._known = _Served(providers, keys)
        self._usable = _Served(providers, [key for key in keys if key.enabled])
        self._found = lru_cache(maxsize=ROUTES_KEPT)(self._find)

    def stages(self, model: str, provider: str | None = None) -> tuple[RouteStage, ...]:
        """The stages for ``model``, its own provider first, then its chain's.

        ``provider`` makes it that one stage. Raises ConfigurationError, which lists what is
        served, if no stage is left.
        """
        return self._found(model, provider)

    def eligible(self, stage: RouteStage) -> tuple[int, ...]:
        """The keys that can serve ``stage``, as indexes of ``keys``."""
        spec = self._providers[stage.provider]
        names = None if stage.model is None else _spellings(spec, stage.model)
        return tuple(
            index
            for index, key in enumerate(self._keys)
            if key.provider == stage.provider
            and key.enabled
            and (names is None or key.models is None or not key.models.isdisjoint(names))
        )

    def _find(self, model: str, provider: str | None) -> tuple[RouteStage, ...]:
        if provider is not None:
            return (self._only(provider, model),)
        stages: list[RouteStage] = []
        for stage in self._walk(model):
            if stage not in stages:
                stages.append(stage)
        if not stages:
            raise ConfigurationError(self._unserved(model))
        return tuple(stages)

    def _walk(self, model: str) -> Iterator[RouteStage]:
        own = self._usable.home(model)
        if own:
            yield RouteStage(*own)
        home = own or self._known.home(model)
        own_name = home[1] if home else model
        for entry in self._chain(model, home):
            name = self._sent(entry, model, own_name)
            if self._usable.serves(entry.provider, name):
                is_same = entry.model in (None, model, own_name)
                yield RouteStage(entry.provider, name, entry.upstream, entry.options, is_same)

    def _chain(self, model: str, home: tuple[str, str] | None) -> Sequence[ChainEntry]:
        names = (model, home[1], home[0], "*") if home else (model, "*")
        return next((self._chains[name] for name in names if name in self._chains), ())

    def _sent(self, entry: ChainEntry, asked: str, name: str) -> str:
        """The name that ``entry`` sends. ``name`` is what the model's own provider calls it."""
        given = entry.models.get(asked) or entry.models.get(name) or entry.model
        if given:
            return given
        name = self._usable.name_at(entry.provider, name)
        if entry.upstream is None or "/" in name:
            return name
        vendors = self._providers[entry.provider].vendors
        return f"{vendors.get(entry.upstream, entry.upstream)}/{name}"

    def _only(self, provider: str, model: str) -> RouteStage:
        if provider not in self._usable.specs:
            raise ConfigurationError(self._keyless(provider))
        name = self._usable.name_at(provider, model)
        if not self._usable.serves(provider, name):
            raise ConfigurationError(self._unserved(model, f" of {provider}"))
        return RouteStage(provider, name)

    def _keyless(self, provider: str) -> str:
        if provider in self._providers:
            return f"no enabled key of {provider}; there are keys of: {self._with_keys()}"
        near = difflib.get_close_matches(provider, self._providers, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        return f"no provider {provider!r}{meant or '.'} There are keys of: {self._with_keys()}"

    def _with_keys(self) -> str:
        return ", ".join(self._usable.specs) or "nobody"

    def _unserved(self, model: str, whose: str = "") -> str:
        near = difflib.get_close_matches(model, self._usable.names(), 1)
        slipped = _slipped(model, list(self._usable.specs), ALMOST)
        meant = slipped or (near[0] if near else None)
        hint = f"; did you mean {meant!r}?" if meant else self._whose(model)
        served = self._usable.told() or "nothing, for there is no enabled key"
        return f"no key{whose} serves {model!r}{hint} Served are {served}"

    def _whose(self, model: str) -> str:
        """Who has such names: a provider without keys, or one whose names begin almost so."""
        for name, spec in self._providers.items():
            if name not in self._usable.specs and spec.has(model):
                of = f" (in the environment: {spec.variables[0]})" if spec.variables else ""
                return f": {name} has such names, but no enabled key{of}."
        for name, spec in self._usable.specs.items():
            for stem in (re.split(r"[*?[]", pattern)[0] for pattern in spec.families):
                begins = model[: len(stem)]
                near = difflib.get_close_matches(begins, [stem], 1, ALMOST)
                if near and len(stem) > 2 and begins != stem:
                    return f"; names of {name} begin with {stem!r}."
        return "."
