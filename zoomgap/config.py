"""What the user says of models: a TOML file, and the family that a model gets from it, the catalog and options.

The file is $ZOOMGAP_CONFIG, else ./zoomgap.toml, else zoomgap/config.toml below $XDG_CONFIG_HOME (~/.config). A table
[models."NAME"] holds `family` and any field of a Family; NAME is a model's name, or a pattern with *, ? or [...] for
several. Keys of services have no place in it.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from zoomgap.errors import UsageError
from zoomgap.models.catalog import family_named, identify
from zoomgap.models.families import DIALECTS, FAMILIES, UNKNOWN, Family
from zoomgap.models.resize import RULES
from zoomgap.records import Convention, ImageReturn

TYPES = {found.name: str(found.type) for found in fields(Family) if found.name not in ("name", "pattern")}
"""Fields of a Family that can be set, with their types as written. A name and its pattern are the catalog's own."""
CHOICES = {
    "Family": tuple(family.name for family in (*FAMILIES, UNKNOWN)),
    "RuleName": RULES,
    "Dialect": DIALECTS,
    "Convention": get_args(Convention),
    "ImageReturn": get_args(ImageReturn),
}
KINDS: dict[str, tuple[type, str]] = {
    "int": (int, "a whole number"),
    "int | None": (int, "a whole number"),
    "bool": (bool, "true or false"),
    "str": (str, "text in quotes"),
}
_SECRET = re.compile(
    r"(^|[_-])(api[_-]?key|key|secret|password|authorization|bearer)s?$|(^|auth[_-]?|access[_-]?|api[_-]?|hf[_-]?)token$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One table of the file. name: a model's name or a pattern; values: fields of a Family, and `family`."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Config:
    """A file that was read; path is None, and entries are empty, where there is no file."""

    path: Path | None = None
    entries: tuple[Entry, ...] = ()

    def entry(self, model: str) -> Entry | None:
        """The entry of a model: the one of its very name, else the first whose pattern fits, in any case."""
        exact = (entry for entry in self.entries if entry.name == model)
        fitting = (entry for entry in self.entries if fnmatch.fnmatchcase(model.lower(), entry.name.lower()))
        return next(exact, None) or next(fitting, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a model is run with. origin: for each field of the family where its value came from, in words."""

    family: Family
    warnings: tuple[str, ...]
    origin: Mapping[str, str]


def config_path(environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Path | None:
    """The file that counts, or None. environ: default of this process; folder: default the current one.

    Raises UsageError when ZOOMGAP_CONFIG names no file.
    """
    environ = os.environ if environ is None else environ
    named = environ.get("ZOOMGAP_CONFIG")
    if named:
        if not Path(named).is_file():
            raise UsageError(f"ZOOMGAP_CONFIG names '{named}', which is no file: name a TOML file or unset it")
        return Path(named)
    home = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or Path.home(), ".config")
    places = ((folder or Path()) / "zoomgap.toml", Path(home) / "zoomgap" / "config.toml")
    return next((path for path in places if path.is_file()), None)


def load(path: Path | None = None) -> Config:
    """Read a file, default the one that counts. Raises UsageError, in one line, for anything wrong in it."""
    path = path or config_path()
    if path is None:
        return Config()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): check the file or name another") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: save it as UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML ({error}): mend that place") from error
    for key in _keys(data):
        if _SECRET.search(key):
            raise UsageError(
                f"{path}: '{_short(key)}' looks like a key of a service, which no file may hold: "
                "delete it and set ZOOMGAP_API_KEY in the environment"
            )
    for table in data:
        if table != "models":
            raise UsageError(f"{path}: '{_short(table)}' is not known here: the only tables are [models.\"NAME\"]")
    return Config(path, tuple(_entries(path, data.get("models", {}))))


def settled(model: str, overrides: Mapping[str, Any] | None = None, config: Config | None = None) -> Settled:
    """The family of a model: the catalog's, changed by the file's entry, changed by options.

    overrides: fields of a Family, and `family`, as given by options; None stands for not given. config: default the
    file that counts. Raises UsageError for unknown fields and families, values that do not fit a field or one another,
    and `hf:PATH` without a checkpoint.
    """
    config = load() if config is None else config
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    _check("the options", given)
    entry = config.entry(model)
    sources: list[tuple[str, Mapping[str, Any]]] = []
    if entry is not None:
        sources.append((f"{config.path}, {_table(entry.name)}", entry.values))
    sources.append(("an option", given))
    family, origin = _base(model, sources)
    for source, values in sources:
        changes = {key: value for key, value in values.items() if key != "family"}
        try:
            family = replace(family, **changes)
        except ValueError as error:
            raise UsageError(f"{source}, for model '{model}': {error}") from error
        origin |= dict.fromkeys(changes, source)
    return Settled(family=family, warnings=_warnings(model, family, origin), origin=origin)


def _base(model: str, sources: list[tuple[str, Mapping[str, Any]]]) -> tuple[Family, dict[str, str]]:
    """The catalog's family of a model, by the last source that names one, else by the model itself."""
    naming = [(source, values["family"]) for source, values in sources if "family" in values]
    if naming:
        source, name = naming[-1]
        family, by = family_named(name), f"named by {source}"
    else:
        family, by = identify(model)
    return family, dict.fromkeys((found.name for found in fields(Family)), f"family {family.name}, {by}")


def _warnings(model: str, family: Family, origin: Mapping[str, str]) -> tuple[str, ...]:
    if family.name != UNKNOWN.name or not origin["convention"].startswith("family"):
        return ()
    return (
        f"model '{model}' is of no known family: boxes are asked for as {family.convention}, which may be wrong; find "
        f"out with `zoomgap models probe --endpoint URL --model {model}`, or give it an entry in zoomgap.toml",
    )


def _entries(path: Path, models: object) -> Iterator[Entry]:
    if not isinstance(models, dict):
        raise UsageError(f'{path}: models is no table: write [models."NAME"]')
    for name, values in models.items():
        where = f"{path}: {_table(name)}"
        if not isinstance(values, dict):
            raise UsageError(f'{where} is no table: write [models."NAME"] and its fields below')
        # An unquoted name with a dot is a table in a table to TOML.
        inner = next((key for key, value in values.items() if isinstance(value, dict)), None)
        if inner is not None:
            raise UsageError(f"{where} holds a table '{_short(inner)}': put the whole name of the model in quotes")
        _check(where, values)
        yield Entry(name, values)


def _check(where: str, values: Mapping[str, Any]) -> None:
    """Raises UsageError for unknown keys, wrong types and values outside their choices."""
    for key, value in values.items():
        if key != "family" and key not in TYPES:
            near = difflib.get_close_matches(key, ["family", *TYPES], 1)
            hint = f"did you mean '{near[0]}'?" if near else f"use family, {', '.join(TYPES)}"
            raise UsageError(f"{where}: '{_short(key)}' is no field of a model: {hint}")
        shown = _short(repr(value))
        wanted = TYPES.get(key, "Family")
        if wanted in CHOICES:
            if value not in CHOICES[wanted]:
                raise UsageError(f"{where}: {key} is {shown}: use one of {', '.join(CHOICES[wanted])}")
            continue
        kind, words = KINDS[wanted]
        if type(value) is not kind:
            raise UsageError(f"{where}: {key} is {shown}: give {words}")


def _keys(data: Mapping[str, Any]) -> Iterator[str]:
    """Every key of a file, however deep; names of models are none."""
    for key, value in data.items():
        if key != "models" or not isinstance(value, dict):
            yield key
        for table in _tables(value):
            if key == "models" and table is value:
                yield from (name for name, entry in table.items() if not isinstance(entry, dict))
            else:
                yield from table


def _tables(value: object) -> Iterator[dict[str, Any]]:
    """A value's table and the tables inside."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _tables(inner)


def _table(name: str) -> str:
    return f'[models."{_short(name)}"]'


def _short(text: str) -> str:
    """A piece of a file as it stands in an error: one line, at most 60 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"
