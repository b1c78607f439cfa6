"""Real Postfix and Dovecot, in a folder of the test, on free ports of the loopback; nothing leaves.

Postfix takes mail of everybody on `smtp`, of who logs in over TLS on `submission`; mail for
bridge.test goes to the bridge (or to Dovecot), mail for people.test into Dovecot's mailboxes. With
OpenDKIM, `signing` is the server of signed.test, which signs and hands on to `checked`: that one
verifies, and says so in a field of mx.test.
"""

from __future__ import annotations

import base64
import imaplib
import os
import pwd
import re
import secrets
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
import trustme
from attrs import define, field

__all__ = [
    "HAS_SIEVE",
    "MailServers",
    "dkim_keys",
    "free_port",
    "mail_servers",
    "needs_opendkim",
    "needs_servers",
    "needs_sieve",
]

PASSWORD: Final = "correct-horse"
_SECONDS: Final = 60.0
_BINARIES: Final = ("/usr/sbin/postfix", "/usr/sbin/dovecot")

_SIEVE: Final = Path("/usr/lib/dovecot/modules/lib90_sieve_plugin.so")
_OPENDKIM: Final = Path("/usr/sbin/opendkim")
HAS_SIEVE: Final = _SIEVE.exists()
needs_sieve = pytest.mark.skipif(not HAS_SIEVE, reason="needs dovecot-sieve")
needs_opendkim = pytest.mark.skipif(not _OPENDKIM.exists(), reason="needs opendkim")
needs_servers = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(os.path.exists, _BINARIES)),
    reason="needs root, postfix, dovecot-imapd and dovecot-lmtpd (apt-get install them)",
)

# qmgr is woken each second, not each 300: killed between a mail and the word of it, Postfix finds
# the mail again only then.
_MASTER: Final = """
postlog unix-dgram n - n - 1 postlogd
127.0.0.1:{smtp} inet n - n - - smtpd
127.0.0.1:{submission} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_sasl_type=dovecot
  -o smtpd_sasl_path=inet:127.0.0.1:{auth}
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
  -o smtpd_recipient_restrictions=
127.0.0.1:{signing} inet n - n - - smtpd
  -o smtpd_milters=inet:127.0.0.1:{signer}
  -o smtpd_recipient_restrictions=reject_unauth_destination
  -o content_filter=smtp:[127.0.0.1]:{checked}
127.0.0.1:{checked} inet n - n - - smtpd
  -o smtpd_milters=inet:127.0.0.1:{checker}
  -o smtpd_recipient_restrictions=reject_unauth_destination
smtp unix - - n - - smtp
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""

_MAIN: Final = """
compatibility_level = 3.6
queue_directory = {root}/spool
data_directory = {root}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {root}/postfix.log
maillog_file_prefixes = {root}
myhostname = mx.test
mydomain = test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
recipient_delimiter = +
mynetworks = 127.0.0.0/8
default_transport = error:5.4.4 nothing leaves this machine
relay_transport = error:5.4.4 nothing leaves this machine
virtual_mailbox_domains = bridge.test, other.test, people.test, gone.test, signed.test
virtual_mailbox_maps = regexp:{root}/mailboxes
transport_maps = regexp:{root}/transports
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = reject_unauth_destination, check_sender_access regexp:{root}/proofs
smtpd_tls_cert_file = {root}/cert.pem
smtpd_tls_key_file = {root}/key.pem
smtpd_client_connection_rate_limit = 0
smtpd_error_sleep_time = 0
in_flow_delay = 0
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
lmtp_connect_timeout = 5s
lmtp_destination_concurrency_limit = 4
message_size_limit = 31457280
milter_default_action = tempfail
destination_concurrency_feedback_debug = no
default_destination_concurrency_failed_cohort_limit = 0
"""

_DOVECOT: Final = """
base_dir = {root}/dovecot-run
state_dir = {root}/dovecot-run
log_path = {root}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{root}/cert.pem
ssl_key = <{root}/key.pem
disable_plaintext_auth = no
mail_location = maildir:{root}/mail/%n
mail_fsync = never
first_valid_uid = 1
auth_username_format = %Ln
lda_mailbox_autocreate = yes
recipient_delimiter = +
default_process_limit = 20
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={root}/mail/%n allow_all_users=yes
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
service auth {{
  inet_listener {{
    port = {auth}
  }}
}}
namespace inbox {{
  inbox = yes
  mailbox Done {{
    auto = create
  }}
}}
"""


_SIEVE_CONF: Final = """
submission_host = 127.0.0.1:{smtp}
protocol lmtp {{
  mail_plugins = $mail_plugins sieve
}}
plugin {{
  sieve = file:{root}/sieve/%n.sieve
  sieve_vacation_min_period = 0
}}
"""

_SIGNER: Final = """
Socket inet:{signer}@127.0.0.1
Mode s
Domain signed.test
Selector s
KeyFile {root}/dkim.key
SignatureAlgorithm rsa-sha256
InternalHosts 127.0.0.1
Background no
RequireSafeKeys no
"""

_CHECKER: Final = """
Socket inet:{checker}@127.0.0.1
Mode v
AuthservID mx.test
TestPublicKeys {root}/dkim.zone
InternalHosts 192.0.2.1
AlwaysAddARHeader yes
Background no
"""


def free_port() -> int:
    """A port that nothing listens at: below those that the system gives to outgoing links."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with closing(socket.socket()) as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


@define
class MailServers:
    """Both, running."""

    root: Path
    ports: dict[str, int]
    domains: dict[str, str]
    """Where mail for each domain goes, as Postfix's transports."""
    _dovecot: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _milters: list[subprocess.Popen[bytes]] = field(factory=list, repr=False)

    @property
    def ca_file(self) -> Path:
        return self.root / "ca.pem"

    # -- running ---------------------------------------------------------------------------------

    def start(self) -> None:
        self.start_dovecot()
        if _OPENDKIM.exists():
            for name in ("signer", "checker"):
                command = [str(_OPENDKIM), "-f", "-x", str(self.root / f"{name}.conf")]
                self._milters.append(subprocess.Popen(command))
            self._wait_for("signer", "checker")
        self.start_postfix()

    def start_dovecot(self) -> None:
        config = self.root / "dovecot.conf"
        self._dovecot = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", str(config)])
        self._wait_for("imap", "lmtp", "auth")

    def start_postfix(self) -> None:
        started = subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self.root / "conf"), "start"],
            check=False,
            capture_output=True,
        )
        if started.returncode:
            raise RuntimeError(f"Postfix does not start: {started.stderr!r} {self.logs()}")
        self._wait_for("smtp", "submission")

    def kill_postfix(self) -> None:
        """`kill -9` of all of it."""
        for pid in self._postfix_processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + _SECONDS
        while self._postfix_processes() and time.monotonic() < until:
            time.sleep(0.01)

    def kill_dovecot(self) -> None:
        """`kill -9` of all of it."""
        assert self._dovecot is not None
        children = psutil.Process(self._dovecot.pid).children(recursive=True)
        self._dovecot.kill()
        self._dovecot.wait(_SECONDS)
        for one in children:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(children, _SECONDS)

    def has_mail_on_its_way(self) -> bool:
        """Whether anything waits in Postfix's queues.

        A file that may not be run is a mail that was never taken: who sent it was told nothing, and
        a killed Postfix leaves it there for a day and a half.
        """
        queues = (self.root / "spool" / name for name in ("incoming", "active", "deferred"))
        files = (
            Path(at) / one for queue in queues for at, _, names in os.walk(queue) for one in names
        )
        return any(os.access(one, os.X_OK) for one in files)

    def forget_mail(self) -> None:
        """What waits in Postfix's queues is no more: a test's mail is not for the next one."""
        command = ["/usr/sbin/postsuper", "-c", str(self.root / "conf"), "-d", "ALL"]
        subprocess.run(command, check=True, capture_output=True)

    def taken_in_order(self) -> list[str]:
        """The Message-IDs that Postfix has begun to take, in the order in which it first did."""
        log = (self.root / "postfix.log").read_text(errors="replace")
        return list(dict.fromkeys(re.findall(r"cleanup\[\d+\]: \w+: message-id=<([^>]*)>", log)))

    def _postfix_processes(self) -> list[int]:
        """Those that work in this test's queue, and no others."""
        found = []
        for one in Path("/proc").iterdir():
            if one.name.isdecimal():
                with suppress(OSError):
                    if os.readlink(one / "cwd") == str(self.root / "spool"):
                        found.append(int(one.name))
        return found

    def _wait_for(self, *names: str) -> None:
        for name in names:
            until = time.monotonic() + _SECONDS
            while True:
                try:
                    socket.create_connection(("127.0.0.1", self.ports[name]), 1).close()
                    break
                except OSError:
                    if time.monotonic() > until:
                        raise RuntimeError(f"{name} does not listen: {self.logs()}") from None
                    time.sleep(0.05)

    def stop(self) -> None:
        subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self.root / "conf"), "stop"],
            check=False,
            capture_output=True,
        )
        self.kill_postfix()
        for one in (self._dovecot, *self._milters):
            if one is not None:
                one.terminate()
                one.wait(_SECONDS)

    def logs(self) -> str:
        texts = []
        for name in ("postfix.log", "dovecot.log"):
            with suppress(OSError):
                texts.append((self.root / name).read_text()[-3000:])
        return "\n".join(texts)

    # -- people ----------------------------------------------------------------------------------

    def give_sieve(self, user: str, script: str) -> None:
        """What happens to somebody's mail as it is delivered."""
        (self.root / "sieve" / f"{user}.sieve").write_text(script)

    def send(self, raw: bytes, sender: str, *recipients: str, by: str = "smtp") -> None:
        """Somebody hands a mail to Postfix."""
        with smtplib.SMTP("127.0.0.1", self.ports[by], timeout=_SECONDS) as smtp:
            smtp.sendmail(sender, list(recipients), raw)

    def mailbox(self, user: str, folder: str = "INBOX") -> list[Message[Any, Any]]:
        """What somebody has, in the order in which it came."""
        with imaplib.IMAP4("127.0.0.1", self.ports["imap"], timeout=_SECONDS) as imap:
            imap.login(user, PASSWORD)
            if imap.select(folder, readonly=True)[0] != "OK":
                return []
            numbers = imap.search(None, "ALL")[1][0].split()
            raws = [_raw(imap.fetch(number, "(BODY.PEEK[])")[1]) for number in numbers]
        return [message_from_bytes(raw, policy=default) for raw in raws]

    def make_mailbox(self, user: str, name: str, *raws: bytes) -> None:
        """A mailbox made anew, as after a restore: another UIDVALIDITY, and these in it."""
        with imaplib.IMAP4("127.0.0.1", self.ports["imap"], timeout=_SECONDS) as imap:
            imap.login(user, PASSWORD)
            imap.delete(name)
            imap.create(name)
            for raw in raws:
                imap.append(name, None, None, raw)

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))


def _raw(fetched: Any) -> bytes:
    return bytes(fetched[0][1])


@contextmanager
def mail_servers(**domains: str) -> Iterator[MailServers]:
    """Both servers. `bridge=` and `other=`: where mail for bridge.test and other.test goes;
    without them into Dovecot's mailboxes too."""
    # Not pytest's folders: those are closed to the users that the servers run as.
    with tempfile.TemporaryDirectory(prefix="ofcd-mail-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        with _servers_in(root, **domains) as servers:
            yield servers


@contextmanager
def _servers_in(root: Path, **domains: str) -> Iterator[MailServers]:
    names = ["smtp", "submission", "auth", "imap", "imaps", "lmtp"]
    names += ["signing", "checked", "signer", "checker"]
    ports = {name: free_port() for name in names}
    dovecot = f"lmtp:inet:127.0.0.1:{ports['lmtp']}"
    where = {"bridge": dovecot, "other": dovecot, "people": dovecot, **domains}
    _write(root, ports, where)
    servers = MailServers(root, ports, where)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


def _write(root: Path, ports: dict[str, int], where: dict[str, str]) -> None:
    mail = pwd.getpwnam("mail")
    postfix = pwd.getpwnam("postfix")
    for name in ("conf", "spool", "data", "mail", "dovecot-run", "sieve"):
        (root / name).mkdir()
    os.chown(root / "data", postfix.pw_uid, -1)
    for name in ("mail", "sieve"):
        os.chown(root / name, mail.pw_uid, mail.pw_gid)
    ca = trustme.CA()
    cert = ca.issue_cert("localhost", "127.0.0.1")
    ca.cert_pem.write_to_path(root / "ca.pem")
    cert.private_key_pem.write_to_path(root / "key.pem")
    for number, blob in enumerate(cert.cert_chain_pems):
        blob.write_to_path(root / "cert.pem", append=number > 0)
    shutil.copy("/etc/postfix/dynamicmaps.cf", root / "conf")
    (root / "conf/main.cf").write_text(_MAIN.format(root=root))
    where = {**where, "signed": where["people"], "gone": "error:5.1.1 nobody reads this"}
    lines = [f"/@{domain}\\.test$/ {transport}\n" for domain, transport in where.items()]
    (root / "transports").write_text("".join(lines))
    (root / "conf/master.cf").write_text(_MASTER.format(**ports))
    (root / "mailboxes").write_text("if !/^nobody/\n/\\.test$/ ok\nendif\n")
    # What a milter does on a real server: say of mail from people.test that DMARC passed.
    (root / "proofs").write_text(
        "/@people\\.test$/ PREPEND Authentication-Results: mx.test;"
        " dmarc=pass header.from=people.test\n"
    )
    dovecot = _DOVECOT + (_SIEVE_CONF if HAS_SIEVE else "")
    (root / "dovecot.conf").write_text(
        dovecot.format(root=root, password=PASSWORD, user=mail.pw_uid, group=mail.pw_gid, **ports)
    )
    private, public = dkim_keys()
    (root / "dkim.key").write_bytes(private)
    (root / "dkim.zone").write_text(f"s._domainkey.signed.test {public}\n")
    for name, text in (("signer", _SIGNER), ("checker", _CHECKER)):
        (root / f"{name}.conf").write_text(text.format(root=root, **ports))


def dkim_keys() -> tuple[bytes, str]:
    """An RSA key as every mail domain has one, and the record that its zone shows."""
    make = ["openssl", "genrsa", "-traditional", "2048"]
    private = subprocess.run(make, check=True, capture_output=True).stdout
    show = ["openssl", "rsa", "-pubout", "-outform", "DER"]
    public = subprocess.run(show, input=private, check=True, capture_output=True).stdout
    return private, f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"
