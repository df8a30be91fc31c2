"""A Debian that really boots: made by debootstrap, run by systemd-nspawn, without any network but its own loopback.

RECORDER_SYSTEMD_CACHE names the folder that keeps the bare Debian and the wheels between runs, by default
`recorder-systemd` in the folder for temporary files. RECORDER_SYSTEMD_KEEP=1 leaves the machine's files for a look.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
CACHE = Path(os.environ.get("RECORDER_SYSTEMD_CACHE") or Path(tempfile.gettempdir()) / "recorder-systemd")
SUITE = "bookworm"
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,openssl,ca-certificates"
KEY = "sk_live_0f1e2d3c4b5a-only-for-the-drill"
PATIENCE_S = 90.0
BLOCK = re.compile(r"(?ms)^```sh\n(.*?)^```")

UPSTREAMS_UNIT = """
[Service]
ExecStart=/opt/recorder/bin/python /opt/drill/upstreams.py /opt/drill/cert.pem /opt/drill/key.pem /opt/drill/api.key
Restart=always
[Install]
WantedBy=multi-user.target
"""

PREPARE = """
cd /opt/drill
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=wss.finlight.me \
    -addext subjectAltName=DNS:wss.finlight.me -keyout key.pem -out cert.pem 2> openssl.log
cp cert.pem /usr/local/share/ca-certificates/drill.crt
update-ca-certificates > /dev/null
useradd --create-home analyst
systemctl daemon-reload
systemctl enable upstreams
"""


class Machine:
    """One boot after another of one Debian. `run` is root's shell in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.figures: dict[str, float] = {}
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def boot(self) -> None:
        """Returns when systemd says that everything is up."""
        command = ["systemd-nspawn", "--quiet", "-D", str(self.root), "-b", "-M", f"recorder-{os.getpid()}"]
        command += ["--keep-unit", "--register=no", "--console=pipe", "--private-network"]
        with (self.root.parent / "console.log").open("ab") as console:
            self._nspawn = subprocess.Popen(
                command,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": _unified()},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        self.until(self._find_leader)
        self.until(lambda: self.run("systemctl is-system-running || true").strip() in ("running", "degraded"))

    def _find_leader(self) -> bool:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, (self.root.parent / "console.log").read_text(errors="replace")
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        self._leader = int(children[0]) if children else 0
        return bool(children) and Path(f"/proc/{self._leader}/comm").read_text().strip() == "systemd"

    def off(self, *, power_cut: bool = False) -> None:
        """An orderly shutdown, or everything gone at once."""
        assert self._nspawn is not None
        if power_cut:
            os.kill(self._leader, 9)  # PID 1 of the container: the kernel ends all the others with it
        else:
            self.run("systemctl poweroff")
        self._nspawn.wait(PATIENCE_S)

    def run(self, script: str, *, stdin: str = "", succeeds: bool = True) -> str:
        """What a shell script said on both channels. Fails the test where one of its commands failed."""
        enter = ["nsenter", "--target", str(self._leader), "--all", "env", "-i", "--chdir=/"]
        environment = [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG=C.UTF-8",
            "HOME=/root",
        ]
        done = subprocess.run(
            [*enter, *environment, "bash", "-euo", "pipefail", "-c", script],
            input=stdin.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
        )
        said = done.stdout.decode(errors="replace")
        if succeeds and done.returncode:
            pytest.fail(f"exit code {done.returncode} of\n{script}\n{said}\n{self._journal()}")
        return said

    def _journal(self) -> str:
        return self.run("journalctl -n 50 --no-pager", succeeds=False) if self._leader else ""

    def fails(self, script: str) -> str:
        """As `run`, for what must not succeed."""
        return self.run(f"if ( {script} ); then exit 1; fi", succeeds=True)

    def paper(self, section: str, *, stdin: str = "") -> str:
        """Type what stands in the blocks of a section of docs/vps.md."""
        page = (ROOT / "docs" / "vps.md").read_text(encoding="utf-8")
        (text,) = re.findall(rf"(?ms)^## {re.escape(section)}\n(.*?)(?=^## |\Z)", page)
        blocks = BLOCK.findall(text)
        assert blocks, f"no block in {section}"
        return self.run("\n".join(blocks), stdin=stdin)

    def unit(self, *properties: str, of: str = "recorder") -> dict[str, str]:
        """Properties as `systemctl show` has them."""
        said = self.run(f"systemctl show {of} -p {','.join(properties)}")
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def sql(self, statement: str) -> list[dict[str, object]]:
        """The answer of `recorder sql`."""
        answer: list[dict[str, object]] = json.loads(self.run(f'recorder sql "{statement}" --json'))
        return answer

    def until(self, holds: Callable[[], object], patience_s: float = PATIENCE_S) -> float:
        """Wait until it holds; how many seconds that took."""
        began_s = time.monotonic()
        while not holds():
            if time.monotonic() - began_s > patience_s:
                pytest.fail(f"it did not happen within {patience_s:.0f} s\n{self._journal()}")
            time.sleep(0.05)
        return time.monotonic() - began_s


def _unified() -> str:
    """Whether the container gets cgroup v2, as a VPS has it. With v1 systemd cannot see there when a service's last
    process ended, and waits for TimeoutStopSec after each.
    """
    cgroups = Path("/sys/fs/cgroup")
    return str(int(any((at / "cgroup.controllers").exists() for at in (cgroups, cgroups / "unified"))))


def _debian() -> Path:
    """A bare Debian, kept; made in about 50 s."""
    debian = CACHE / SUITE
    if not debian.exists():
        aside = CACHE / f"_aside-{os.getpid()}"
        subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(aside)], check=True)
        aside.rename(debian)
    return debian


def _wheels() -> Path:
    """What pip needs in a machine without network; it asks for what is missing only."""
    wheels = CACHE / "wheels"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = project["project"]["dependencies"] + project["build-system"]["requires"]
    download = [sys.executable, "-m", "pip", "download", "-q", "-c", str(ROOT / "constraints.txt"), "-d", str(wheels)]
    python = ["--only-binary=:all:", "--python-version=3.11"]  # bookworm's
    subprocess.run([*download, *python, *wanted], check=True)
    return wheels


def _furnish(root: Path) -> None:
    """What a VPS would have from elsewhere: the sources, the network's packages and upstreams."""
    (root / "etc" / "resolv.conf").unlink(missing_ok=True)
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost wss.finlight.me\n")
    (root / "etc" / "hostname").write_text("vps\n")
    ignore = shutil.ignore_patterns(".*", "__pycache__", "venv", "data")
    shutil.copytree(ROOT, root / "usr/local/src/recorder", ignore=ignore)
    shutil.copytree(_wheels(), root / "opt" / "wheels")
    (root / "etc" / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /opt/wheels\n")
    drill = root / "opt" / "drill"
    drill.mkdir()
    for helper in ("upstreams.py", "probe.py", "stall.py"):
        shutil.copy(HERE / helper, drill)
    (drill / "api.key").write_text(KEY)
    (root / "etc/systemd/system/upstreams.service").write_text(UPSTREAMS_UNIT)


@pytest.fixture(scope="session")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    if os.geteuid() != 0:
        pytest.skip("booting a container needs root")
    missing = [name for name in ("debootstrap", "systemd-nspawn", "nsenter") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed: apt-get install debootstrap systemd-container")
    began_s = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    debian = _debian()
    made_s = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    made = Machine(place / "root")
    subprocess.run(["cp", "-a", "--reflink=auto", str(debian), str(made.root)], check=True)
    _furnish(made.root)
    try:
        made.boot()
        made.run(PREPARE)
        made.figures["debootstrap s"] = made_s - began_s
        made.figures["furnished and booted s"] = time.monotonic() - made_s
        yield made
        made.figures["all s"] = time.monotonic() - began_s
        made.off()
    finally:
        _report(request, made.figures)
        if made._nspawn and made._nspawn.poll() is None:
            made._nspawn.kill()
            made._nspawn.wait()
        if not os.environ.get("RECORDER_SYSTEMD_KEEP"):
            shutil.rmtree(place)


def _report(request: pytest.FixtureRequest, figures: dict[str, float]) -> None:
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\n" + "\n".join(f"{name:<50}{value:>8.2f}" for name, value in figures.items()))


@pytest.fixture(scope="session")
def key() -> str:
    return KEY
