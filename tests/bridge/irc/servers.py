"""Real IRC servers as processes in temp folders on free loopback ports, and people on them."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import trio
import trustme

from bridge.irc.wire import Framer, Line, encode

__all__ = [
    "SERVICES",
    "Person",
    "anope",
    "atheme",
    "free_port",
    "inspircd",
    "needs",
    "ngircd",
    "person",
    "services_link",
    "tls",
    "until",
]

PATIENCE = 60.0


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where a server is not installed (CI installs it)."""
    missing = [one for one in programs if shutil.which(one, path=PATH) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One server that can be killed and started again at the same port."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.port = port
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns once it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        for _ in range(600):
            with socket.socket() as probe:
                probe.settimeout(0.5)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            time.sleep(0.1)
        raise AssertionError(self._log.read_text()[-2000:])

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def ngircd(folder: Path, *, more: str = "") -> Iterator[Server]:
    """An ngIRCd."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    config = folder / "ngircd.conf"
    config.write_text(
        "[Global]\nName = irc.test.example\nInfo = test\nListen = 127.0.0.1\n"
        f"Ports = {port}\nMotdPhrase = hello\nServerGID = {_nobody()[1]}\n"
        f"ServerUID = {_nobody()[0]}\nAdminInfo1 = a\nAdminInfo2 = b\nAdminEMail = a@b.example\n"
        "[Limits]\nMaxConnectionsIP = 0\nMaxNickLength = 20\nMaxPenaltyTime = 1\n"
        "[Options]\nDNS = no\nIdent = no\nPAM = no\nSyslogFacility = local1\n"
        f"ChrootDir =\n{more}\n"
    )
    command = [shutil.which("ngircd", path=PATH) or "ngircd", "-n", "-f", str(config)]
    server = Server(command, port, folder / "ngircd.log")
    server.start()
    try:
        yield server
    finally:
        server.kill()


_MODULES = """
cap ircv3 ircv3_accounttag ircv3_batch ircv3_capnotify ircv3_chghost ircv3_ctctags
ircv3_echomessage ircv3_labeledresponse ircv3_msgid ircv3_servertime chanhistory namesx spanningtree
"""


@contextmanager
def inspircd(
    folder: Path,
    *,
    more: str = "",
    modules: str = "",
    name: str = "irc.test.example",
    sid: str = "001",
    defaultmodes: str = "not",
) -> Iterator[Server]:
    """An InspIRCd 3 that plays a channel's last lines back to who joins (mode +H)."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    wanted = "".join(f'<module name="{one}">\n' for one in (_MODULES + modules).split())
    config = folder / "inspircd.conf"
    config.write_text(
        f'<config format="xml">\n<server name="{name}" description="test" network="test" '
        f'id="{sid}">\n<admin name="a" nick="a" email="a@b.example">\n'
        f'<bind address="127.0.0.1" port="{port}" type="clients">\n'
        '<connect allow="*" timeout="60" pingfreq="120" hardsendq="10M" softsendq="5M" recvq="1M" '
        'commandrate="100000" threshold="100000" fakelag="no" localmax="1000" globalmax="1000" '
        'resolvehostnames="no" useident="no">\n'
        '<chanhistory maxlines="500" prefixmsg="no" bots="yes">\n'
        f'<options defaultmodes="{defaultmodes}" syntaxhints="no">\n'
        '<performance quietbursts="yes">\n'
        f'<path configdir="{folder}" datadir="{folder}" logdir="{folder}" runtimedir="{folder}">\n'
        f'<pid file="{folder}/inspircd.pid">\n<log method="file" type="* -USERINPUT -USEROUTPUT" '
        f'level="default" target="{folder}/ircd.log">\n{wanted}{more}\n'
    )
    program = shutil.which("inspircd", path=PATH) or "inspircd"
    root = ["--runasroot"] if os.getuid() == 0 else []
    command = [program, "--nofork", "--nopid", *root, "--config", str(config)]
    server = Server(command, port, folder / "out.log")
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def anope(folder: Path, port: int) -> Iterator[None]:
    """Anope's services on an InspIRCd that has `SERVICES` and a link at this port."""
    folder.mkdir(exist_ok=True)
    for name in ("data", "logs", "conf"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "conf" / "services.motd").write_text("hello\n")
    (folder / "conf" / "services.conf").write_text(_ANOPE.format(port=port, folder=folder))
    command = [
        shutil.which("anope", path=PATH) or "anope",
        "--nofork",
        "--nothird",
        f"--confdir={folder / 'conf'}",
        f"--dbdir={folder / 'data'}",
        f"--logdir={folder / 'logs'}",
        "--modulesdir=/usr/lib/anope",
        "--localedir=/usr/share/locale",
    ]
    with _running(command, folder):
        yield


@contextmanager
def atheme(folder: Path, port: int) -> Iterator[None]:
    """Atheme's services in the place of Anope's."""
    folder.mkdir(exist_ok=True)
    (folder / "atheme.conf").write_text(_ATHEME.format(port=port))
    command = [
        shutil.which("atheme-services", path=PATH) or "atheme-services",
        *("-n", "-c", str(folder / "atheme.conf"), "-D", str(folder)),
        *("-l", str(folder / "services.log"), "-p", str(folder / "services.pid")),
    ]
    with _running(command, folder):
        yield


@contextmanager
def _running(command: list[str], folder: Path) -> Iterator[None]:
    with (folder / "out.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        process.kill()
        process.wait()


SERVICES = " services_account sasl monitor hidechans globops"


def tls(folder: Path, port: int) -> tuple[str, str]:
    """An InspIRCd's settings for TLS at this port, and the fingerprint of `client.pem` there.

    In the folder: what signed the server's certificate (ca.pem), and a client's with its key.
    """
    folder.mkdir(exist_ok=True)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    server, client = ca.issue_cert("127.0.0.1"), ca.issue_cert("bridge@test.example")
    server.private_key_pem.write_to_path(folder / "key.pem")
    server.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    client.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    shown = sha256(ssl.PEM_cert_to_DER_cert(client.cert_chain_pems[0].bytes().decode())).hexdigest()
    return (
        f'<sslprofile name="tls" provider="gnutls" cafile="{folder}/ca.pem" hash="sha256" '
        f'certfile="{folder}/cert.pem" keyfile="{folder}/key.pem" requestclientcert="yes">\n'
        f'<bind address="127.0.0.1" port="{port}" type="clients" sslprofile="tls">\n'
    ), shown


def services_link(port: int) -> str:
    """An InspIRCd's settings for services at this port."""
    return (
        f'<bind address="127.0.0.1" port="{port}" type="servers">\n'
        '<link name="services.test.example" ipaddr="127.0.0.1" allowmask="127.0.0.1" '
        f'port="{port}" sendpass="pass" recvpass="pass">\n'
        '<uline server="services.test.example" silent="yes">\n'
        '<sasl target="services.test.example" requiressl="no">\n'
    )


_ANOPE = """
uplink {{ host = "127.0.0.1"; ipv6 = no; ssl = no; port = {port}; password = "pass" }}
serverinfo {{ name = "services.test.example"; description = "test"; pid = "{folder}/services.pid";
  motd = "{folder}/conf/services.motd" }}
module {{ name = "inspircd3"; use_server_side_mlock = yes; use_server_side_topiclock = yes }}
networkinfo {{ networkname = "test"; nicklen = 30; userlen = 10; hostlen = 64; chanlen = 32;
  modelistsize = 100; vhost_chars = "abc"; allow_undotted_vhosts = false;
  disallow_start_or_end = ".-" }}
options {{ seed = 4711; casemap = "rfc1459"; strictpasswords = no; badpasslimit = 50;
  badpasstimeout = 1h;
  updatetimeout = 5m; expiretimeout = 30m; readtimeout = 1s; warningtimeout = 4h;
  timeoutcheck = 1s; retrywait = 1s; hideprivilegedcommands = yes; hideregisteredcommands = yes }}
service {{ nick = "NickServ"; user = "services"; host = "services.test.example"; gecos = "nicks" }}
module {{ name = "nickserv"; client = "NickServ"; forceemail = no; confirmemailchanges = no;
  defaults = "ns_secure"; regdelay = 0s; expire = 21d; secureadmins = yes; modeonid = yes;
  hidenetsplitquit = no; killquick = 20s; kill = 60s; enforceruser = "enforcer";
  enforcerhost = "services.test.example"; releasetimeout = 1m; guestnickprefix = "Guest";
  nonicknameownership = no; passlen = 32 }}
module {{ name = "ns_register"; registration = "none"; nickregdelay = 0s }}
command {{ service = "NickServ"; name = "REGISTER"; command = "nickserv/register" }}
module {{ name = "ns_identify"; maxlogins = 10 }}
command {{ service = "NickServ"; name = "IDENTIFY"; command = "nickserv/identify" }}
module {{ name = "ns_recover"; restoreonrecover = yes }}
command {{ service = "NickServ"; name = "RECOVER"; command = "nickserv/recover" }}
module {{ name = "ns_cert"; max = 5 }}
command {{ service = "NickServ"; name = "CERT"; command = "nickserv/cert" }}
module {{ name = "enc_sha256" }}
module {{ name = "db_flatfile"; database = "anope.db"; keepbackups = 0; fork = no }}
module {{ name = "m_sasl" }}
log {{ target = "services.log"; logage = 7; admin = "*"; commands = "*"; other = "*" }}
"""

_ATHEME = """
loadmodule "modules/protocol/inspircd";
loadmodule "modules/backend/opensex";
loadmodule "modules/crypto/pbkdf2v2";
loadmodule "modules/nickserv/main";
loadmodule "modules/nickserv/register";
loadmodule "modules/nickserv/identify";
loadmodule "modules/nickserv/ghost";
loadmodule "modules/nickserv/cert";
loadmodule "modules/saslserv/main";
loadmodule "modules/saslserv/plain";
loadmodule "modules/saslserv/external";
serverinfo {{ name = "services.test.example"; desc = "test"; numeric = "00A"; recontime = 1;
  netname = "test"; adminname = "a"; adminemail = "a@b.example"; registeremail = "a@b.example";
  auth = none; casemapping = rfc1459; loglevel = {{ all; }}; maxlogins = 5; maxusers = 5; }};
uplink "irc.test.example" {{ host = "127.0.0.1"; port = {port}; password = "pass"; }};
nickserv {{ nick = "NickServ"; user = "services"; host = "services.test.example"; real = "nicks";
  maxnicks = 5; }};
saslserv {{ nick = "SaslServ"; user = "services"; host = "services.test.example"; real = "sasl"; }};
general {{ commit_interval = 5; flood_msgs = 0; }};
"""


def _nobody() -> tuple[str, str]:
    return str(os.getuid()), str(os.getgid())


class Person:
    """Somebody on IRC."""

    def __init__(self, nick: str, stream: trio.abc.Stream) -> None:
        self.nick = nick
        self.lines: list[Line] = []
        self.raw: list[bytes] = []
        self.gone = False
        self._stream = stream
        self._framer = Framer()

    async def send(self, command: str, *params: str) -> None:
        await self._stream.send_all(encode(command, params))

    async def say(self, channel: str, text: str) -> None:
        await self.send("PRIVMSG", channel, text)

    async def read(self) -> None:
        try:
            while data := await self._stream.receive_some():
                self.raw.append(bytes(data))
                for line in self._framer.feed(bytes(data)):
                    self.lines.append(line)
                    if line.command == "PING":
                        await self.send("PONG", *line.params)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            self.gone = True

    def count(self, command: str) -> int:
        """How many such lines came."""
        return sum(line.command == command for line in self.lines)

    def of(self, command: str) -> list[tuple[str, ...]]:
        """The parameters of such lines."""
        return [line.params for line in self.lines if line.command == command]

    def heard(self, channel: str) -> list[str]:
        """What others said there."""
        return [
            line[1]
            for line in self.lines
            if line.command in ("PRIVMSG", "NOTICE") and line[0] == channel
        ]


@asynccontextmanager
async def person(
    port: int, nick: str, *channels: str, secure: ssl.SSLContext | None = None
) -> AsyncIterator[Person]:
    """Somebody who is in these channels."""
    stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", port)
    if secure is not None:
        stream = trio.SSLStream(stream, secure, server_hostname="127.0.0.1")
    try:
        somebody = Person(nick, stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(somebody.read)
            await somebody.send("NICK", nick)
            await somebody.send("USER", nick, "0", "*", nick)
            await until(lambda: somebody.gone or somebody.count("001"))
            for channel in channels:
                await somebody.send("JOIN", channel)
            await until(lambda: somebody.gone or somebody.count("366") == len(channels))
            yield somebody
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


async def until(condition: object, seconds: float = PATIENCE) -> None:
    """Wait for what other processes bring about."""
    assert callable(condition)
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - it watches others from outside
            await trio.sleep(0.02)
