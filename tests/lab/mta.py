"""Postfix (with Postgrey) and Exim from Debian, unpacked by `setup`, run from folders of their own.

Both listen on high ports, take mail for isp.example and bücher.example over TLS, know one login,
and put what they accept into a maildir. They must be started by root, as mail servers are.
"""

import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.lab.mongo import free_port
from tests.lab.setup import UNPACKED

USERNAME, PASSWORD = "subscriber", "planted-smtp-password"
SIZE_LIMIT_BYTES = 1_000_000
START_TIMEOUT_S = 20.0
INBOXES = ("support", "grey")
"""Who may get mail at isp.example; nobody else is known there."""
DOMAINS = ("isp.example", "b\u00fccher.example", "xn--bcher-kva.example")
_POSTFIX = UNPACKED / "postfix/usr"
_POSTGREY = UNPACKED / "postgrey/usr/sbin/postgrey"
_EXIM = UNPACKED / "exim4-daemon-light/usr/sbin/exim4"
_FOLDERS = [
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "maildrop",
    "pid",
    "private",
    "public",
    "saved",
    "trace",
]

_MAIN_CF = """
compatibility_level = 3.6
myhostname = mx.isp.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = {postfix}/sbin
daemon_directory = {postfix}/lib/postfix/sbin
shlib_directory = {postfix}/lib/postfix
mail_owner = uucp
setgid_group = news
import_environment = LD_LIBRARY_PATH={postfix}/lib/postfix MAIL_CONFIG TZ LANG=C
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {folder}
virtual_mailbox_maps = {boxes}
virtual_uid_maps = static:10
virtual_gid_maps = static:10
virtual_minimum_uid = 1
default_transport = error
message_size_limit = {size}
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtputf8_enable = yes
smtpd_tls_security_level = encrypt
smtpd_tls_chain_files = {folder}/server.pem
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{login_port}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_restriction_classes = greylisting
greylisting = check_policy_service inet:127.0.0.1:{policy_port}
smtpd_recipient_restrictions =
  check_recipient_access inline:{{ {{ grey@isp.example = greylisting }} }}
"""
_MASTER_CF = """
{port} inet n - n - - smtpd
{implicit_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
tlsmgr unix - - n 1000? 1 tlsmgr
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
_EXIM_CONF = """
primary_hostname = mx.isp.example
exim_path = {exim}
spool_directory = {folder}/spool
log_file_path = {folder}/exim-%s.log
pid_file_path = {folder}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port} : {implicit_port}
tls_on_connect_ports = {implicit_port}
tls_advertise_hosts = *
tls_certificate = {folder}/server.pem
tls_privatekey = {folder}/server.pem
auth_advertise_hosts = ${{if def:tls_in_cipher{{*}}{{}}}}
smtputf8_advertise_hosts = *
message_size_limit = {size}
deliver_drop_privilege = true
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt
keep_environment = LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP

begin acl
mail:
  deny !encrypted = *
       message = TLS first
  accept
rcpt:
  accept domains = {domains}
         local_parts = {boxes}
  deny message = no such user here

begin routers
all:
  driver = accept
  transport = box

begin transports
box:
  driver = appendfile
  directory = {folder}/inbox
  maildir_format
  create_directory

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"""


@dataclass
class MailServer:
    """One that runs. `inbox` is what it has delivered."""

    name: str
    folder: Path
    port: int
    implicit_port: int
    ca_file: Path

    def inbox(self) -> list[bytes]:
        files = [*self.folder.glob("inbox/new/*"), *self.folder.glob("inbox/cur/*")]
        return [file.read_bytes() for file in files]

    def arrived(self, count: int) -> list[bytes]:
        """The inbox once *count* letters are there: servers deliver after they have accepted."""
        _wait(lambda: len(self.inbox()) >= count, f"{count} letters at {self.name}", self.log)
        return self.inbox()

    def log(self) -> str:
        return "".join(
            file.read_text(errors="replace")[-3000:] for file in self.folder.glob("*.log")
        )

    def empty(self) -> None:
        for file in self.folder.glob("inbox/*/*"):
            file.unlink()


@contextmanager
def postgrey(folder: Path, port: int) -> Iterator[None]:
    """Defers whoever writes for the first time by the shortest delay that it knows, a second."""
    folder.mkdir()
    shutil.chown(folder, "mail", "mail")
    with (folder / "console.log").open("wb") as console:
        process = subprocess.Popen(
            [
                *("perl", "-T", str(_POSTGREY), f"--inet=127.0.0.1:{port}", "--delay=1"),
                *("--user=mail", "--group=mail", f"--dbdir={folder}"),
                *("--whitelist-clients=/dev/null", "--whitelist-recipients=/dev/null"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env={"PATH": "/usr/bin:/bin"},
        )
    try:
        log = (folder / "console.log").read_text
        _wait(lambda: _listens(port), "postgrey", log)
        yield
    finally:
        process.terminate()
        process.wait(timeout=START_TIMEOUT_S)


@contextmanager
def postfix() -> Iterator[MailServer]:
    """Mail for grey@isp.example is greylisted."""
    with ExitStack() as stack:
        folder = stack.enter_context(_folder("postfix"))
        policy_port = free_port()
        stack.enter_context(postgrey(folder / "postgrey", policy_port))
        login_port = stack.enter_context(_listener(_Login))
        server = _server("postfix", folder)
        for name in ("spool", "data", "inbox", *(f"spool/{name}" for name in _FOLDERS)):
            (folder / name).mkdir()
            shutil.chown(folder / name, "root" if name in {"spool", "spool/pid"} else "uucp")
        boxes = " ".join(f"{{ {box}@{domain} = inbox/ }}" for box in INBOXES for domain in DOMAINS)
        values = {
            "folder": folder, "postfix": _POSTFIX, "size": SIZE_LIMIT_BYTES,
            "domains": " ".join(DOMAINS), "boxes": f"inline:{{ {boxes} }}",
            "policy_port": policy_port, "login_port": login_port,
            "port": server.port, "implicit_port": server.implicit_port,
        }  # fmt: skip
        (folder / "main.cf").write_text(_MAIN_CF.format(**values), encoding="utf-8")
        (folder / "master.cf").write_text(_MASTER_CF.format(**values), encoding="utf-8")
        environment = {
            "LD_LIBRARY_PATH": str(_POSTFIX / "lib/postfix"),
            "MAIL_CONFIG": str(folder),
            "PATH": os.environ["PATH"],
        }
        master = [str(_POSTFIX / "lib/postfix/sbin/master"), "-d", "-c", str(folder)]
        stack.enter_context(_running(master, environment, server))
        yield server


@contextmanager
def exim() -> Iterator[MailServer]:
    with ExitStack() as stack:
        folder = stack.enter_context(_folder("exim"))
        server = _server("exim", folder)
        for name in ("spool", "inbox"):
            (folder / name).mkdir()
            shutil.chown(folder / name, "mail", "mail")
        shutil.chown(folder, "mail", "mail")
        values = {
            "folder": folder, "exim": _EXIM, "size": SIZE_LIMIT_BYTES,
            "domains": " : ".join(DOMAINS), "boxes": " : ".join(INBOXES),
            "user": USERNAME, "password": PASSWORD,
            "port": server.port, "implicit_port": server.implicit_port,
        }  # fmt: skip
        (folder / "exim.conf").write_text(_EXIM_CONF.format(**values), encoding="utf-8")
        # Exim insists on a user of its own, whom only its package would make on this machine.
        (folder / "passwd").write_text(
            "root:x:0:0::/root:/bin/sh\nmail:x:8:8::/:/bin/sh\nDebian-exim:x:8:8::/:/bin/sh\n"
        )
        (folder / "group").write_text("root:x:0:\nmail:x:8:\nDebian-exim:x:8:\n")
        [wrapper] = UNPACKED.glob("libnss-wrapper/usr/lib/*/libnss_wrapper.so")
        environment = {
            "LD_PRELOAD": str(wrapper),
            "NSS_WRAPPER_PASSWD": str(folder / "passwd"),
            "NSS_WRAPPER_GROUP": str(folder / "group"),
            "PATH": os.environ["PATH"],
        }
        daemon = [str(_EXIM), "-C", str(folder / "exim.conf"), "-bdf"]
        stack.enter_context(_running(daemon, environment, server))
        yield server


def _server(name: str, folder: Path) -> MailServer:
    """Its certificate and ports; it is not started yet."""
    authority = trustme.CA()
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    if name == "exim":  # reads it as its own user, Postfix as root
        shutil.chown(folder / "server.pem", "mail")
    return MailServer(name, folder, free_port(), free_port(), ca_file)


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    """One that the servers' users may enter, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix=f"speedtrap-{name}-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def _running(command: list[str], environment: dict[str, str], server: MailServer) -> Iterator[None]:
    with (server.folder / "console.log").open("wb") as console:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
    try:
        _wait(lambda: process.poll() is not None or _greets(server), server.name, server.log)
        if process.poll() is not None:
            raise RuntimeError(f"{server.name} ended at once:\n{server.log()}")
        yield
    finally:
        process.terminate()
        process.wait(timeout=START_TIMEOUT_S)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _greets(server: MailServer) -> bool:
    try:
        context = ssl.create_default_context(cafile=server.ca_file)
        with (
            socket.create_connection(("127.0.0.1", server.implicit_port), 2) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as secure,
        ):
            return secure.recv(3) == b"220"
    except OSError:
        return False


def _wait(holds: Callable[[], bool], what: str, log: Callable[[], str]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {what}:\n{log()}")
        time.sleep(0.02)


class _Login(socketserver.StreamRequestHandler):
    """Dovecot's authentication protocol, as far as Postfix needs it."""

    def handle(self) -> None:
        hello = "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n"
        self.wfile.write(hello.encode())
        for line in self.rfile:
            words = line.decode().rstrip("\n").split("\t")
            if words[0] != "AUTH":
                continue
            [given] = [word[5:] for word in words if word.startswith("resp=")]
            _, user, password = b64decode(given).decode().split("\0")
            right = (user, password) == (USERNAME, PASSWORD)
            self.wfile.write(f"{'OK' if right else 'FAIL'}\t{words[1]}\tuser={user}\n".encode())


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def _listener(handler: type[socketserver.StreamRequestHandler]) -> Iterator[int]:
    """Serves on a port of loopback, in a thread."""
    with _Listener(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
