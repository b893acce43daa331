"""A pollux-httpd on a TAP device in a network namespace of its own, with this machine's kernel as its peer.

Namespaces belong to threads in Linux: `with server.inside():` moves the calling thread there, and sockets that it opens
stay there. Everything a test starts is ended and removed when it is over, also when it fails.
"""

import contextlib
import ctypes
import itertools
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

source = pathlib.Path(__file__).resolve().parents[2]
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000

SERVER = "192.0.2.1"
CLIENT = "192.0.2.2"
SERVER_V6 = "2001:db8::1"
CLIENT_V6 = "2001:db8::2"
DEVICE = "pollux0"


class Family:
    """How the server is reached: every test that is not about one of them runs over both."""

    def __init__(self, name, server, client, headers):
        self.name, self.server, self.client, self.headers = name, server, client, headers
        self.host = f"[{server}]" if ":" in server else server  # as a URL and a Host field spell it
        self.url = f"http://{self.host}/"


V4 = Family("IPv4", SERVER, CLIENT, 20)
V6 = Family("IPv6", SERVER_V6, CLIENT_V6, 40)

httpd = {}  # build type -> program; find_programs() fills it and the following
dialer = {}  # likewise: pollux-test-dialer
link = None  # pollux-test-link, of the release build
ctl = None  # pollux-ctl, of the build with sanitizers
test_client = None  # the small client, for devices that the kernel does not see
flood = None  # pollux-test-flood, of the release build
cores = sorted(os.sched_getaffinity(0))
_numbers = itertools.count()


def missing_privileges():
    """What these tests lack to run at all; None: nothing."""
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        return "the tests of whole programs need root and /dev/net/tun"
    return None


def find_programs(asan, release):
    """Fills in the programs of both build folders."""
    global link, ctl, test_client, flood
    for build, folder in (("asan", asan), ("release", release)):
        httpd[build] = os.path.abspath(os.path.join(folder, "apps/pollux-httpd"))
        dialer[build] = os.path.abspath(os.path.join(folder, "tests/interop/dialer/pollux-test-dialer"))
    test_client = os.path.abspath(os.path.join(release, "tests/support/client/pollux-test-client"))
    link = os.path.abspath(os.path.join(release, "tests/interop/link/pollux-test-link"))
    flood = os.path.abspath(os.path.join(release, "tests/attack/flood/pollux-test-flood"))
    ctl = os.path.abspath(os.path.join(asan, "apps/pollux-ctl"))


def raise_file_limit():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192) if most > 0 else 8192, most))


def wait_until(seconds, what, condition):
    """Polls `condition` until it is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)


def new_namespace():
    """A name for one."""
    return f"pollux-test-{os.getpid()}-{next(_numbers)}"


@contextlib.contextmanager
def inside(namespace):
    """The calling thread is in a network namespace."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            libc.setns(home.fileno(), CLONE_NEWNET)


def worker_cores(workers, first=0):
    """`eal.cores` for so many workers, each on a core of its own."""
    assert workers <= len(cores), f"{workers} workers need {workers} cores; this machine has {len(cores)}"
    return ",".join(str(cores[(first + worker) % len(cores)]) for worker in range(workers))


def settings(routes=(), http="", engine="", tcp="", core=0, workers=1, more=""):
    """A settings file for one port on a TAP device. `routes` are (path, key, value); `more` comes last."""
    text = f"""
[eal]
huge_pages = false
cores = "{worker_cores(workers, core)}"
[engine]
{engine}
[[port]]
device = "net_tap0,iface={DEVICE}"
addresses = ["{SERVER}/24", "{SERVER_V6}/64"]
duplicate_address_detection = false
[[listen]]
port = 80
[tcp]
{tcp}
[http]
{http}
"""
    for path, key, value in (("/", "body", "Hello from Pollux.\\n"), *routes):
        text += f'[[route]]\npath = "{path}"\n{key} = "{value}"\n'
    return text + more


UNLIMITED = 'idle_timeout = "0s"\nmax_requests = 0\n'


class Server:
    """with Server("asan", settings(...)) as server: ..."""

    standard_input = subprocess.DEVNULL
    before_program = ()

    def __init__(self, build, text, arguments=(), family=V4):
        self.namespace = new_namespace()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pollux-test."))
        self.file = self.folder / "settings.toml"
        self.file.write_text(text)
        self.program = httpd[build]
        self.family = family
        self.arguments = list(arguments)
        self.process = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shell(f"remove_namespace {self.namespace}")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self):
        shell(f"make_namespace {self.namespace}")
        self._before_start()
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *self.before_program, self.program, "-c", self.file,
                 *self.arguments],
                stdin=self.standard_input, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "RUNTIME_DIRECTORY": str(self.folder),
                     "LSAN_OPTIONS": f"suppressions={source}/tests/interop/foreign_leaks:print_suppressions=0"},
            )
        self._after_start()
        self._await("the first connection", self._connects)

    def _before_start(self):
        """For devices that must be there first."""

    def _after_start(self):
        self._await("the TAP device", lambda: self.run("ip", "link", "show", DEVICE).returncode == 0)
        shell(f"configure_tap {self.namespace} {DEVICE} {CLIENT}/24 {CLIENT_V6}/64")

    def _await(self, what, condition):
        def check():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log()}")
            return condition()

        try:
            wait_until(40, what, check)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def _connects(self):
        try:
            self.connect(timeout=1).close()
            return True
        except OSError:
            return False

    def ctl(self, *arguments):
        """pollux-ctl, which finds the server's socket in the folder of the test."""
        return run_ctl(*arguments, folder=self.folder)

    def rows(self, *arguments):
        """The rows of `pollux-ctl --json`; whatever fails is a failure."""
        done = self.ctl("--json", *arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        assert done.stderr == "", done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def inside(self):
        """The calling thread is in the server's namespace."""
        return inside(self.namespace)

    def connect(self, timeout=10, family=None):
        with self.inside():
            return socket.create_connection(((family or self.family).server, 80), timeout=timeout)

    def run(self, *command, timeout=300):
        """A program inside the namespace."""
        return subprocess.run(["ip", "netns", "exec", self.namespace, *command], timeout=timeout, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def signal(self, number):
        self.process.send_signal(number)

    def ends(self, seconds):
        """Waits for the server to end by itself; its exit status."""
        return self.process.wait(timeout=seconds)

    def is_alive(self):
        return self.process.poll() is None

    def stop(self):
        """SIGTERM, and the exit status: 0, or what the sanitizers say."""
        self.signal(signal.SIGTERM)
        return self.ends(30)


class VethServer(Server):
    """On one end of a veth pair (net_af_packet, net_af_xdp)."""

    kernel_addresses = f"{CLIENT}/24 {CLIENT_V6}/64"

    def _before_start(self):
        shell(f"make_veth {self.namespace} {DEVICE} {self.kernel_addresses}")

    def _after_start(self):
        pass


class MemifServer(Server):
    """The other end is a process. The name of its socket belongs to the namespace."""

    def _after_start(self):
        pass

    def _connects(self):
        return "serving" in self.log()


class Dialer(Server):
    """pollux-test-dialer, which opens connections to the kernel; what the kernel opens to it is echoed."""

    standard_input = subprocess.PIPE

    def __init__(self, build, text, targets, *arguments):
        """`targets`: (what, who closes first, address, port)."""
        more = []
        for what, closer, address, port in targets:
            more += ["--to", f"{what},{closer},[{address}]:{port}"]
        super().__init__(build, text, [*map(str, arguments), *more])
        self.program = dialer[build]

    def __exit__(self, *reason):
        if self.process:
            self.process.stdin.close()
        super().__exit__(*reason)

    def _connects(self):
        return "waiting for orders" in self.log()  # the first connection is for the test to make

    def begins(self):
        """A batch of connections."""
        self.process.stdin.write(b".")
        self.process.stdin.flush()

    def result(self, seconds=60):
        """No further batch: what it says at the end."""
        self.process.stdin.close()
        status = self.ends(seconds)
        assert status == 0, self.log()
        return json.loads(next(line for line in self.log().splitlines() if line.startswith("{")))


def run_ctl(*arguments, folder, before=()):
    return subprocess.run([*before, ctl, *arguments], text=True, capture_output=True, timeout=60,
                          stdin=subprocess.DEVNULL, env={**os.environ, "RUNTIME_DIRECTORY": str(folder)})


def shell(command):
    """A function of scripts/lib.sh."""
    done = subprocess.run(["bash", "-c", f". {source}/scripts/lib.sh; {command}"], text=True, capture_output=True)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.stderr}")


class Answer:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body


def read_answer(stream, method="GET"):
    """One answer from a file object of a socket; None at the end of the stream."""
    line = stream.readline()
    if not line:
        return None
    version, status, _ = line.decode().split(" ", 2)
    assert version == "HTTP/1.1", line
    fields = {}
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, value = line.decode().rstrip("\r\n").split(":", 1)
        fields[name.lower()] = value.strip()
    length = 0 if method == "HEAD" else int(fields["content-length"])
    body = stream.read(length)
    assert len(body) == length, f"{len(body)} of {length} bytes"
    return Answer(int(status), fields, body)


def request(path="/", method="GET", version="1.1", fields=()):
    lines = [f"{method} {path} HTTP/{version}", *fields]
    if version == "1.1":
        lines.insert(1, f"Host: {SERVER}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
