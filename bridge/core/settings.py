"""bridge.toml: the bridge's vault and rooms, its networks, and which room is joined to what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import attrs
from attrs import evolve, field, frozen
from attrs.validators import ge, in_, le

from bridge.core.links.settings import LinksSettings
from bridge.core.network import Network, PlaceInfo
from ofcd.config.strict import NOT_IN_FILE, hint, read_toml, structure
from ofcd.errors import ConfigError
from ofcd.protocol.ids import RoomId

__all__ = [
    "BridgeSettings",
    "LogSettings",
    "MetricsSettings",
    "Portal",
    "Settings",
    "load_settings",
]

_ID_DIGITS: Final = 8


@frozen
class BridgeSettings:
    """[bridge]."""

    name: str = "Bridge"
    """What it calls itself in the rooms."""
    vault: str = "bridge.vault"
    key_file: str = "bridge.key"
    """Opens the vault. Made, with the vault, where there is none; keep it from others' eyes."""
    join: list[str] = field(factory=list, repr=False)
    """Invite links (of `ofc invite --bridge`); each is used once."""
    grace: float = field(default=5.0, validator=ge(0))
    """Seconds that a stop leaves to what is being sent."""


@frozen
class LogSettings:
    """[log]."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


@frozen
class MetricsSettings:
    """[metrics]: Prometheus, on an address of this machine; port 0: not at all."""

    address: str = "127.0.0.1"
    port: int = 0


@frozen
class Portal:
    """One [[portal]]: a room joined to a place outside. Many to many, each on its own terms."""

    room: str
    """The room's name, or the beginning (8 digits or more) of its id."""
    network: str
    """The name of one of the networks."""
    place: str
    """What the place is called there: "#books"."""
    direction: str = field(default="both", validator=in_(("both", "in", "out")))
    """`out`: only from the room to the place; `in`: only from the place to the room."""
    hold: float = field(default=3.0, validator=ge(0))
    """Seconds that a message waits before it goes out, so that quick edits merge."""
    max_age: float = field(default=0.0, validator=ge(0))
    """Seconds that a message may wait for the network; then it is marked as not delivered.
    0: what is right for the network (10 minutes for chat, a day for mail)."""
    backlog: int = field(default=50, validator=ge(1))
    """Messages that wait together: more are said in one line, and marked as not delivered."""
    edits: str = field(default="diff", validator=in_(("diff", "full", "off")))
    """How an edit of what is already outside is told there: what differs, if that is little; all of
    the new words; or not at all."""
    max_edits: int = field(default=3, validator=ge(0))
    """Edits told of one message, at most."""
    redactions: bool = True
    """Take back outside what was taken back here, where the network can."""
    reactions: bool = False
    """Tell reactions outside."""
    files: bool = True
    """Tell of files outside: name and size, and a link where there are links."""
    links: bool = True
    """Where [links] is set up: files, and what is too long for the place, as links."""
    file_bytes: int = field(default=20 * 1024 * 1024, validator=[ge(1), le(64 * 1024 * 1024)])
    """The largest file that is carried, either way; a larger one is told by name and size."""
    presence: bool = False
    """Tell who comes and goes, both ways."""
    topic: bool = False
    """Carry the topic, both ways, where the bridge may."""
    notices: bool = True
    """Take what programs say outside (NOTICE)."""
    in_per_second: float = field(default=5.0, validator=ge(0.01))
    """Messages taken from the place a second, on average; more is told in one line."""
    in_burst: int = field(default=50, validator=ge(1))
    in_backlog: int = field(default=1000, validator=ge(1))
    """Messages kept for the relay while it is away; more is told in one line."""
    out_per_second: float = field(default=5.0, validator=ge(0.01))
    """Messages said at the place a second, on average; the others wait."""
    out_burst: int = field(default=20, validator=ge(1))
    ignore: list[str] = field(factory=list)
    """Whom not to take anything from: patterns with * and ? over their outside id and name."""
    options: Any = field(default=None, metadata=NOT_IN_FILE)
    """The network's own section, checked by it."""

    @property
    def sends(self) -> bool:
        """The room is copied to the place."""
        return self.direction != "in"

    @property
    def takes(self) -> bool:
        """The place is copied to the room."""
        return self.direction != "out"

    def means(self, room: RoomId) -> bool:
        """Whether it names a room by its id."""
        return len(self.room) >= _ID_DIGITS and room.hex().startswith(self.room.lower())


@frozen
class Settings:
    """All of bridge.toml."""

    bridge: BridgeSettings
    networks: tuple[Any, ...]
    """Each network's own settings, with the class that runs it in `kinds`."""
    kinds: Mapping[str, type[Network[Any, Any]]]
    """By the network's name."""
    portals: tuple[Portal, ...]
    log: LogSettings = field(factory=LogSettings)
    metrics: MetricsSettings = field(factory=MetricsSettings)
    links: LinksSettings = field(factory=LinksSettings)

    def make_networks(self) -> dict[str, Network[Any, Any]]:
        """The networks, each with its places."""
        return {
            one.name: self.kinds[one.name](one, self._places(one.name)) for one in self.networks
        }

    def _places(self, network: str) -> list[PlaceInfo[Any]]:
        places: dict[str, PlaceInfo[Any]] = {}
        for portal in self.portals:
            if portal.network != network:
                continue
            known = places.get(portal.place)
            options = portal.options if known is None else known.options
            sends = portal.sends or (known is not None and known.sends)
            takes = portal.takes or (known is not None and known.takes)
            places[portal.place] = PlaceInfo(portal.place, options, sends, takes)
        return list(places.values())


_OWN: Final = {
    "bridge": BridgeSettings,
    "log": LogSettings,
    "metrics": MetricsSettings,
    "links": LinksSettings,
}


def load_settings(path: Path, kinds: Mapping[str, type[Network[Any, Any]]]) -> Settings:
    """The settings in a file; relative paths in it start at its folder.

    `kinds` are the networks there are, by the name of their sections. Raises `ConfigError`.
    """
    read = read_toml(path)
    sections = (*_OWN, *kinds, "portal")
    for name in read.keys() - set(sections):
        if isinstance(read[name], (dict, list)):
            raise ConfigError(f"{path}: [{name}] is not a section: {hint(name, sections)}")
        raise ConfigError(f"{path}: {name} stands outside of any section")
    own: dict[str, Any] = {
        name: structure(read.get(name, {}), kind, path, f"[{name}]") for name, kind in _OWN.items()
    }
    networks: list[Any] = []
    classes: dict[str, type[Network[Any, Any]]] = {}
    for kind, cls in kinds.items():
        for one in _tables(read, kind, path):
            made = _placed(structure(one, cls.Settings, path, f"[[{kind}]]"), path.parent)
            if made.name in classes:
                raise ConfigError(f"{path}: two networks are named {made.name}: rename one")
            classes[made.name] = cls
            networks.append(made)
    if not networks:
        raise ConfigError(f"{path} has no network: write [[{']] or [['.join(kinds)}]]")
    by_name = {one.name: one for one in networks}
    portals = [_portal(one, by_name, classes, path) for one in _tables(read, "portal", path)]
    if not portals:
        raise ConfigError(f"{path} has no [[portal]]: write one for each room and place")
    pairs = [(one.room, one.network, one.place) for one in portals]
    twice = next((pair for pair in pairs if pairs.count(pair) > 1), None)
    if twice is not None:
        raise ConfigError(f"{path}: two [[portal]] join {twice[0]} and {twice[2]}: remove one")
    bridge = _placed(own["bridge"], path.parent)
    links = _placed(own["links"], path.parent)
    joined = tuple(portals)
    return Settings(bridge, tuple(networks), classes, joined, own["log"], own["metrics"], links)


def _tables(read: Mapping[str, Any], name: str, path: Path) -> list[dict[str, Any]]:
    tables = read.get(name, [])
    if not isinstance(tables, list):
        raise ConfigError(f"{path}: [{name}] has to be [[{name}]]: there may be several")
    return tables


def _portal(
    read: dict[str, Any],
    networks: Mapping[str, Any],
    classes: Mapping[str, type[Network[Any, Any]]],
    path: Path,
) -> Portal:
    kinds = {cls.kind for cls in classes.values()}
    sections = {kind: read[kind] for kind in kinds if kind in read}
    plain = {key: value for key, value in read.items() if key not in kinds}
    where = f"[[portal]] {plain.get('room', '')}"
    portal = structure({**plain, "options": None}, Portal, path, where)
    cls = classes.get(portal.network)
    if cls is None:
        names = ", ".join(networks)
        raise ConfigError(
            f"{path}: {where}: there is no network {portal.network}: there is {names}"
        )
    wrong = next((kind for kind in sections if kind != cls.kind), None)
    if wrong is not None:
        raise ConfigError(f"{path}: {where}: [portal.{wrong}] is not for {portal.network}")
    options = structure(
        sections.get(cls.kind, {}), cls.PlaceSettings, path, f"{where} [portal.{cls.kind}]"
    )
    try:
        place = cls(networks[portal.network], ()).same_place(portal.place)
    except ValueError as error:
        raise ConfigError(f"{path}: {where}: place = {portal.place!r} {error}") from None
    return evolve(portal, place=place, options=_placed(options, path.parent))


def _placed(made: Any, folder: Path) -> Any:
    """Paths start at the folder of the settings; those of sections within too."""
    placed: dict[str, Any] = {}
    for one in attrs.fields(type(made)):
        value = getattr(made, one.name)
        if attrs.has(type(value)):
            placed[one.name] = _placed(value, folder)
        elif one.name.endswith(("_file", "_dir", "vault")) and isinstance(value, str) and value:
            placed[one.name] = str(folder / Path(value).expanduser())
    return evolve(made, **placed)
