"""The units in a systemd that really runs, installed as docs/vps.md says. The tests are one story, in this order.

    pytest -m systemd tests/systemd

As root, with debootstrap and systemd-container installed; the first run fetches a Debian, about 50 s.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(600)]

CONFIG = "/etc/recorder/config.toml"


def started(machine: Any) -> None:
    machine.until(lambda: machine.unit("ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"})


def receiving(machine: Any) -> dict[str, Any]:
    """The status once every feed receives."""
    started(machine)
    machine.until(lambda: all_receive(machine))
    return status(machine)


def all_receive(machine: Any) -> bool:
    told = status(machine)
    return str(told["pid"]) == pid(machine) and all(feed["state"] == "receiving" for feed in told["feeds"].values())


def status(machine: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(machine.run("cat /var/lib/recorder/_status.json"))
    return told


def pid(machine: Any) -> str:
    return str(machine.unit("MainPID")["MainPID"])


def test_installed_as_the_page_says_it_starts_when_it_records(machine: Any, key: str) -> None:
    machine.paper("Install")
    machine.paper("Configure")
    machine.paper("The key", stdin=f"{key}\n")
    machine.run("systemctl start upstreams")
    machine.until(lambda: "both upstreams are there" in machine.run("journalctl -u upstreams --no-pager"))
    began_s = time.monotonic()
    machine.paper("Start")
    machine.figures["systemctl start until ready s"] = time.monotonic() - began_s
    unit = machine.unit("ActiveState", "SubState", "StatusText", "NRestarts", "Type")
    assert (unit["ActiveState"], unit["SubState"], unit["NRestarts"]) == ("active", "running", "0")
    line = re.fullmatch(r"ok: (\d)/2 receiving, durable up to \d+ \(p99 [\d.]+ ms\).*", unit["StatusText"])
    assert line and int(line[1]) >= 1, "ready means that something is received"


def test_the_first_checks_of_the_page_find_all_well(machine: Any) -> None:
    receiving(machine)
    said = machine.paper("First checks")
    assert 'Status: "ok: 2/2 receiving' in said.replace("“", '"')
    assert '{"event":"connection.proven","feed":"news"' in said
    assert machine.run("systemd-analyze verify --man=no recorder.service recorder-replay.service") == ""


def test_the_log_is_readable(machine: Any) -> None:
    lines = machine.run("journalctl -u recorder -o cat --no-pager").splitlines()
    assert not [line for line in lines if "blob data" in line or "Traceback" in line or "\x1b" in line]
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert any(line["event"] == "connection.proven" and line["feed"] == "news" for line in told), lines
    warned = machine.run("journalctl -u recorder -o cat -p warning --no-pager")
    assert '"connection.proven"' not in warned, "each line has its priority"


def test_the_key_is_used_and_is_nowhere_to_be_seen(machine: Any, key: str) -> None:
    assert status(machine)["feeds"]["news"]["state"] == "receiving", "the upstream lets nobody in without it"
    machine.run("journalctl --sync")
    places = (
        f"/proc/{pid(machine)}/environ /proc/{pid(machine)}/cmdline /var/lib/recorder /var/log/journal /run/log/journal"
    )
    assert machine.run(f"grep -rlaF -f /opt/drill/api.key {places} || true") == ""
    assert machine.run("grep -laF -f /opt/drill/api.key /proc/[0-9]*/cmdline || true") == "", "what ps shows"
    assert key not in machine.run("systemctl show recorder; systemctl cat recorder; journalctl -u recorder --no-pager")
    assert machine.run("stat -c '%a %U' /etc/recorder/finlight.key") == "600 root\n"
    machine.fails("runuser -u analyst -- cat /etc/recorder/finlight.key")
    machine.fails("runuser -u analyst -- cat /run/credentials/recorder.service/finlight")


def test_the_running_process_has_no_privileges(machine: Any) -> None:
    lines = machine.run(f"cat /proc/{pid(machine)}/status").splitlines()
    of = {name: value.split() for name, value in (line.split(":", 1) for line in lines)}
    uid = machine.run("id -u recorder").strip()
    assert set(of["Uid"]) == {uid} != {"0"}
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(of[capabilities][0], 16) == 0, capabilities
    assert of["NoNewPrivs"] == ["1"]
    assert of["Seccomp"] == ["2"]


def test_nothing_can_be_done_from_inside_but_recording(machine: Any) -> None:
    machine.run("echo x > /tmp/of-others; chmod 644 /tmp/of-others")
    # The same unit with another program: what this can do, a recorder that was taken over could do.
    machine.run(
        """
        sed -e 's|^ExecStart=.*|ExecStart=/opt/recorder/bin/python /opt/drill/probe.py|' -e '/^ExecStartPre/d' \
            -e 's/^Type=.*/Type=oneshot/' -e '/^Restart/d' -e '/^WatchdogSec/d' \
            /etc/systemd/system/recorder.service > /run/systemd/system/probe.service
        systemctl daemon-reload
        systemctl start probe
        """
    )
    outcome = json.loads(machine.run("journalctl -u probe -o cat --no-pager | grep ^{"))
    possible = {deed for deed, happened in outcome.items() if happened == "done"}
    assert possible == {"write its data", "read its credential", "open a TCP socket"}, outcome


def test_others_read_the_recording_through_the_group_and_change_nothing(machine: Any) -> None:
    ask = "recorder sql 'SELECT count(*) FROM messages' --json"
    machine.fails(f"runuser -u analyst -- {ask}")
    machine.run("usermod -aG recorder analyst")
    assert json.loads(machine.run(f"runuser -u analyst -- {ask}"))[0] != {"count_star()": 0}
    machine.run("runuser -u analyst -- recorder status > /dev/null")
    machine.fails("runuser -u analyst -- touch /var/lib/recorder/x")
    machine.fails("runuser -u analyst -- rm /var/lib/recorder/recorder.sqlite")


def test_a_killed_recorder_is_back_within_seconds_and_says_what_is_missing(machine: Any) -> None:
    before = status(machine)
    killed_s = time.monotonic()
    machine.run("systemctl kill --kill-whom=main --signal=KILL recorder")
    machine.until(lambda: machine.unit("NRestarts", "SubState") == {"NRestarts": "1", "SubState": "running"})
    machine.figures["kill -9 until ready again s"] = time.monotonic() - killed_s
    receiving(machine)
    crashes = machine.sql("SELECT feed, seconds, until_at IS NULL AS still FROM gaps WHERE cause = 'crash'")
    assert {(row["feed"], row["still"]) for row in crashes} == {("news", False), ("quotes", False)}
    machine.figures["crash gap, longest, s"] = max(float(row["seconds"]) for row in crashes)
    ((count),) = machine.sql("SELECT count(*) AS n, max(position) AS last, min(position) AS first FROM messages")
    assert count["n"] == count["last"] - count["first"] + 1
    assert count["last"] >= before["durable_position"], "what was durable is there"


def test_a_frozen_recorder_is_restarted_by_the_watchdog(machine: Any) -> None:
    frozen_s = time.monotonic()
    machine.run("systemctl kill --kill-whom=main --signal=STOP recorder")
    machine.until(lambda: machine.unit("NRestarts", "SubState") == {"NRestarts": "2", "SubState": "running"})
    machine.figures["frozen (WatchdogSec=20) until ready again s"] = time.monotonic() - frozen_s
    assert "Watchdog timeout" in machine.run("journalctl -u recorder --no-pager")
    receiving(machine)


def test_a_recorder_whose_event_loop_is_stuck_is_restarted_and_leaves_a_traceback(machine: Any) -> None:
    # Only the loop is: the process lives, and its journal's thread works.
    machine.run(
        """
        mkdir -p /run/systemd/system/recorder.service.d /opt/drill/site
        cp /opt/drill/stall.py /opt/drill/site/sitecustomize.py
        printf '[Service]\\nEnvironment=PYTHONPATH=/opt/drill/site\\nWatchdogSec=5\\n' \
            > /run/systemd/system/recorder.service.d/stall.conf
        systemctl daemon-reload
        systemctl restart recorder
        """
    )
    receiving(machine)
    machine.run("systemctl kill --kill-whom=main --signal=USR2 recorder")
    stuck = pid(machine)
    machine.until(lambda: pid(machine) not in ("0", stuck))
    receiving(machine)
    log = machine.run("journalctl -u recorder -o cat --no-pager")
    assert "Fatal Python error: Aborted" in log
    assert "sitecustomize.py" in log, "where it hung"
    assert machine.run("find / -xdev -name 'core*' -size +1M -newer /opt/drill/site 2>/dev/null || true") == ""
    machine.run("rm -r /run/systemd/system/recorder.service.d; systemctl daemon-reload; systemctl restart recorder")
    receiving(machine)


def test_a_reload_keeps_the_connections_that_did_not_change(machine: Any) -> None:
    before = receiving(machine)
    machine.run(f'sed -i \'s/^symbols.*/symbols = ["AAPL", "MSFT"]/\' {CONFIG}')
    hours = '[feeds.hours]\nkind = "finance_query.hours"\n'
    machine.run(f"printf '%s' '{hours}' >> {CONFIG}")
    machine.paper("Change the feeds")
    machine.until(lambda: set(status(machine)["feeds"]) == {"news", "quotes", "hours"} and all_receive(machine))
    machine.until(lambda: status(machine)["feeds"]["quotes"]["rotations"] == 1)
    after = status(machine)
    assert after["pid"] == before["pid"]
    assert after["feeds"]["news"]["connections"] == before["feeds"]["news"]["connections"]
    assert after["feeds"]["quotes"]["connections"] != before["feeds"]["quotes"]["connections"]
    since = f"epoch_ns(since_at) > {before['written_ns']}"
    assert machine.sql(f"SELECT cause FROM gaps WHERE feed <> 'hours' AND {since}") == [], "new before old is no gap"


def test_a_reload_with_a_mistake_fails_and_changes_nothing(machine: Any) -> None:
    before = receiving(machine)
    machine.run(f"cp {CONFIG} /root/good.toml; echo 'colour = 1' >> {CONFIG}")
    assert "colour is not a setting" in machine.fails("systemctl reload recorder") + machine.run(
        "journalctl -u recorder -n 20 -o cat --no-pager"
    )
    machine.run("systemctl kill --kill-whom=main --signal=HUP recorder")  # by hand, without the check before it
    machine.until(lambda: "reload refused" in machine.unit("StatusText")["StatusText"])
    after = receiving(machine)
    assert (after["pid"], {n: f["connections"] for n, f in after["feeds"].items()}) == (
        before["pid"],
        {n: f["connections"] for n, f in before["feeds"].items()},
    )
    machine.run(f"cp /root/good.toml {CONFIG}; systemctl reload recorder")
    machine.until(lambda: "refused" not in machine.unit("StatusText")["StatusText"])


def test_a_wrong_configuration_does_not_start_and_says_why(machine: Any) -> None:
    machine.run(f"echo 'colour = 1' >> {CONFIG}")
    machine.run("systemctl stop recorder; systemctl start --no-block recorder")
    machine.until(lambda: "colour is not a setting" in machine.run("journalctl -u recorder -n 20 -o cat --no-pager"))
    machine.run(f"cp /root/good.toml {CONFIG}")
    receiving(machine)  # restarted by itself


def test_without_the_keys_file_it_says_which_secret_is_nowhere(machine: Any, key: str) -> None:
    machine.run("mv /etc/recorder/finlight.key /root/; systemctl stop recorder; systemctl start --no-block recorder")
    machine.until(
        lambda: "wants the secret 'finlight'" in machine.run("journalctl -u recorder -n 20 -o cat --no-pager")
    )
    machine.run("mv /root/finlight.key /etc/recorder/")
    receiving(machine)


def test_upstreams_that_are_down_at_the_start_do_not_keep_it_from_starting(machine: Any) -> None:
    machine.run("systemctl stop recorder upstreams")
    began_s = time.monotonic()
    machine.run("systemctl start recorder")
    machine.figures["ready without any upstream s"] = time.monotonic() - began_s
    unit = machine.unit("ActiveState", "StatusText", "Result")
    assert (unit["ActiveState"], unit["Result"]) == ("active", "success")
    assert "0/3 receiving" in unit["StatusText"]
    machine.run("systemctl start upstreams")
    receiving(machine)


def test_it_stops_in_time_with_everything_durable_and_sealed(machine: Any) -> None:
    receiving(machine)
    machine.figures["memory at most MB"] = int(machine.run(f"grep VmHWM /proc/{pid(machine)}/status").split()[1]) / 1024
    began_s = time.monotonic()
    machine.run("systemctl stop recorder")
    machine.figures["systemctl stop s"] = time.monotonic() - began_s
    unit = machine.unit("ActiveState", "Result")
    assert (unit["ActiveState"], unit["Result"]) == ("inactive", "success"), "in time, or it would be `timeout`"
    assert '"event":"recorder.ended"' in machine.run("journalctl -u recorder -n 20 -o cat --no-pager")
    assert machine.run("runuser -u analyst -- recorder verify > /dev/null; echo $?") == "0\n"
    open_gaps = machine.sql("SELECT DISTINCT cause FROM gaps WHERE until_at IS NULL")
    assert open_gaps == [{"cause": "stopped by SIGTERM"}]
    machine.run("systemctl start recorder")
    receiving(machine)


def test_after_a_power_cut_it_records_again_by_itself(machine: Any) -> None:
    durable = receiving(machine)["durable_position"]
    machine.off(power_cut=True)
    machine.boot()
    now = receiving(machine)
    assert now["durable_position"] > durable
    assert machine.run("recorder verify > /dev/null; echo $?") == "0\n"
    ((cause,),) = [
        row.values() for row in machine.sql("SELECT cause FROM gaps WHERE feed = 'news' ORDER BY since_at DESC LIMIT 1")
    ]
    assert cause == "crash"


def test_the_replay_server_reads_and_cannot_write(machine: Any) -> None:
    machine.paper("The replay server")
    assert machine.unit("SubState", of="recorder-replay")["SubState"] == "running"
    process = machine.unit("MainPID", of="recorder-replay")["MainPID"]
    says = "replaying on ws://127.0.0.1:8765: 0 clients, 0 sessions"
    machine.until(lambda: machine.unit("StatusText", of="recorder-replay")["StatusText"] == says)
    client = (
        "from websockets.sync.client import connect; "
        "socket = connect('ws://127.0.0.1:8765/replay?from=2000-01-01&speed=max&feeds=news'); "
        "[socket.recv(20) for _ in range(20)]; print('heard')"
    )
    assert "heard" in machine.run(f'/opt/recorder/bin/python -c "{client}"')
    root = f"nsenter --target {process} --mount --setuid $(stat -c %u /proc/{process}) --setgid 0 --"
    machine.fails(f"{root} touch /var/lib/recorder/x")
    lines = machine.run(f"cat /proc/{process}/status").splitlines()
    of = {name: value.split() for name, value in (line.split(":", 1) for line in lines)}
    assert of["Uid"][0] not in ("0", machine.run("id -u recorder").strip())
    assert int(of["CapBnd"][0], 16) == 0
    machine.fails(f"grep -raqF finlight /proc/{process}/environ")


def test_upgraded_backed_up_and_uninstalled_as_the_page_says(machine: Any) -> None:
    receiving(machine)
    began_s = time.monotonic()
    machine.paper("Upgrade")
    machine.figures["upgrade as the page says s"] = time.monotonic() - began_s
    receiving(machine)
    machine.paper("Back up")
    receiving(machine)
    assert machine.run("recorder info --data /var/backups/recorder --json | head -c 1") != ""
    machine.paper("Uninstall")
    assert machine.run("systemctl list-unit-files 'recorder*' --no-legend || true") == ""
    assert machine.run("ls /var/lib/recorder/recorder.sqlite") != ""
