"""The scripts of tuning/: a dry run changes nothing, a second run finds nothing to do, undo takes all of it back. On copies
of /proc and /sys, so that no check needs a right or changes its host."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from murmuring import ROOT, binary, environment

TUNING = ROOT / "tuning"


def run(script, *words, folder=TUNING, **settings):
    settings = {"MURMURING_BIN": binary()} | settings
    command = [str(folder / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(**settings))


def values(file):
    """The settings of a file for sysctl(8)."""
    lines = [line for line in file.splitlines() if line.strip() and not line.startswith("#")]
    return {key.strip(): value.strip() for key, value in (line.split("=", 1) for line in lines)}


def write(root, path, text):
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def contents(root):
    """Every file below proc/ and sys/, and what is in it."""
    files = [file for folder in ("proc", "sys") for file in (root / folder).rglob("*") if file.is_file()]
    return {str(file.relative_to(root)): file.read_text() for file in files}


@pytest.fixture
def host(tmp_path):
    """A host with five CPUs, one of them beyond the first 32, low settings but one, and a network card of two queues."""
    for key in values((TUNING / "sysctl.conf").read_text()):
        write(tmp_path, "proc/sys/" + key.replace(".", "/"), "1\t2\t3\n" if key.endswith("tcp_mem") else "7\n")
    write(tmp_path, "proc/sys/fs/file-max", "9223372036854775807\n")
    (tmp_path / "proc/sys/net/netfilter/nf_conntrack_max").unlink()
    write(tmp_path, "proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
    write(tmp_path, "proc/sys/net/ipv4/ip_local_reserved_ports", "\n")
    write(tmp_path, "proc/sys/net/core/rps_sock_flow_entries", "0\n")
    write(tmp_path, "sys/devices/system/cpu/online", "0-3,40\n")
    card = "sys/class/net/eth0"
    for irq in (40, 41, 107):
        write(tmp_path, f"{card}/device/msi_irqs/{irq}", "msix\n")
        write(tmp_path, f"proc/irq/{irq}/smp_affinity_list", "0-3,40\n")
    for queue in (0, 1):
        write(tmp_path, f"{card}/queues/tx-{queue}/xps_cpus", "000,00000000\n")
        write(tmp_path, f"{card}/queues/rx-{queue}/rps_cpus", "000,00000000\n")
        write(tmp_path, f"{card}/queues/rx-{queue}/rps_flow_cnt", "0\n")
    write(tmp_path, "sys/class/net/lo/queues/tx-0/xps_cpus", "0\n")
    return tmp_path


@pytest.mark.parametrize("script, words", [("apply.sh", []), ("apply.sh", [TUNING / "load.conf"]), ("irq.sh", [])])
def test_a_dry_run_changes_nothing_a_second_run_does_nothing_and_undo_takes_it_back(host, script, words):
    before = contents(host)
    shown = run(script, "--root", host, *words)
    assert shown.returncode == 0 and "would " in shown.stdout, shown
    assert contents(host) == before and not (host / "run").exists()

    applied = run(script, "--root", host, "--apply", *words)
    assert applied.returncode == 0, applied.stderr
    assert applied.stdout.count("set ") == shown.stdout.count("would ")
    after = contents(host)
    assert after != before

    again = run(script, "--root", host, "--apply", *words)
    assert again.returncode == 0 and "set " not in again.stdout
    assert contents(host) == after

    undone = run(script, "--root", host, "--undo")
    assert undone.returncode == 0, undone.stderr
    normal = lambda files: {path: text.split() for path, text in files.items()}
    assert normal(contents(host)) == normal(before)
    assert "nothing was saved" in run(script, "--root", host, "--undo").stdout


def test_a_larger_value_of_the_hosts_own_stays_and_what_is_not_there_is_told(host):
    applied = run("apply.sh", "--root", host, "--apply")
    assert (host / "proc/sys/fs/file-max").read_text() == "9223372036854775807\n"
    assert "absent  /proc/sys/net/netfilter/nf_conntrack_max" in applied.stdout
    wanted = values((TUNING / "sysctl.conf").read_text())
    assert (host / "proc/sys/net/ipv4/tcp_mem").read_text().split() == wanted["net.ipv4.tcp_mem"].split()
    assert (host / "proc/sys/net/core/somaxconn").read_text().strip() == wanted["net.core.somaxconn"]


def test_undo_goes_back_to_what_was_there_before_the_first_of_several_runs(host):
    run("apply.sh", "--root", host, "--apply", "--connections", 500_000)
    run("apply.sh", "--root", host, "--apply", "--connections", 2_000_000)
    assert (host / "proc/sys/net/ipv4/tcp_max_orphans").read_text() == "2000000\n"
    run("apply.sh", "--root", host, "--undo")
    assert (host / "proc/sys/net/ipv4/tcp_max_orphans").read_text() == "7\n"


def test_what_can_not_be_written_is_told_and_the_rest_is_done(host):
    path = host / "proc/sys/net/core/somaxconn"
    path.unlink()
    path.symlink_to("/proc/version")
    applied = run("apply.sh", "--root", host, "--apply")
    assert applied.returncode == 1 and "somaxconn" in applied.stderr
    assert (host / "proc/sys/net/ipv4/tcp_max_orphans").read_text() == "1000000\n"


def test_each_cpu_is_one_queues_and_each_interrupt_one_cpus(host):
    run("irq.sh", "--root", host, "--apply")
    card = host / "sys/class/net/eth0/queues"
    assert [int((card / f"tx-{queue}/xps_cpus").read_text().replace(",", ""), 16) for queue in (0, 1)] == [1 << 40 | 0b101, 0b1010]
    assert [(host / f"proc/irq/{irq}/smp_affinity_list").read_text() for irq in (40, 41, 107)] == ["0\n", "1\n", "2\n"]
    assert (card / "rx-1/rps_flow_cnt").read_text() == "16384\n"


def test_the_files_are_what_the_plan_prints():
    for name in ("sysctl", "limits"):
        printed = run("plan.sh", 1_000_000, "--shards", 16, "--print", name)
        assert printed.returncode == 0, printed.stderr
        assert printed.stdout == (TUNING / f"{name}.conf").read_text(), f"tuning/plan.sh 1000000 --shards 16 --print {name}"


def test_a_plan_answers_for_connections_and_for_users():
    page = run("plan.sh", 1_000_000, "--shards", 2).stdout
    assert "RLIMIT_NOFILE 20000: 29 banks a shard" in page and "fs.file-max=" in page and "16 source addresses" in page
    fleet = run("plan.sh", "--users", 10_000_000, "--nodes", 12, "--delivery-us", 5)
    assert fleet.returncode == 0 and "909091 connections" in fleet.stdout and "scenario `storm`" in fleet.stdout
    assert run("plan.sh").returncode == 2
    assert run("plan.sh", "--users", 10, "--nodes", 1).returncode == 2


def test_check_is_the_binarys_and_says_what_is_missing_without_it(tmp_path):
    assert "io_uring" in run("check.sh").stdout
    alone = tmp_path / "alone"
    alone.mkdir()
    for script in ("check.sh", "plan.sh"):
        shutil.copy(TUNING / script, alone)
        told = run(script, "1", folder=alone, MURMURING_BIN="", PATH=os.defpath)
        assert told.returncode == 2 and "MURMURING_BIN" in told.stderr, told
    for name in ("apply.sh", "values.sh", "sysctl.conf"):
        assert name in run("check.sh", folder=alone, MURMURING_BIN="", PATH=os.defpath).stderr
        shutil.copy(TUNING / name, alone)
    compared = run("check.sh", folder=alone, MURMURING_BIN="", PATH=os.defpath)
    assert compared.returncode == 2 and "/proc/sys/fs/file-max" in compared.stdout and "nothing was changed" in compared.stdout


def test_every_setting_of_check_can_be_told(host):
    checked = run("check.sh").stdout
    for key in values((TUNING / "sysctl.conf").read_text()):
        assert re.search(rf"^(ok|note|mend) +{re.escape(key)} ", checked, re.MULTILINE), key


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_the_scripts_are_clean():
    scripts = sorted(map(str, TUNING.glob("*.sh")))
    checked = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("name", ["murmuring.service", "murmuring-tuning.service"])
def test_the_units_are_such_that_systemd_understands(tmp_path, name):
    path = pathlib.Path(tmp_path) / name
    path.write_text(re.sub(r"/usr/local/[\w./-]+", "/bin/true", (TUNING / name).read_text()))
    verified = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60)
    assert verified.stderr == "", verified.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("role", ["gateway", "router"])
def test_a_role_is_a_drop_in_of_the_unit(tmp_path, role):
    unit, drop_in = tmp_path / "murmuring.service", tmp_path / "murmuring.service.d" / "role.conf"
    drop_in.parent.mkdir()
    for path, source in [(unit, TUNING / unit.name), (drop_in, TUNING / drop_in.parent.name / f"{role}.conf")]:
        path.write_text(re.sub(r"/usr/local/[\w./-]+", "/bin/true", source.read_text()))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert verified.stderr == "", verified.stderr
    assert f"/bin/true {role} " in drop_in.read_text()
