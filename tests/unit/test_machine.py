"""What this process may use of the machine, read from made folders of proc and sys."""

from __future__ import annotations

import os
from pathlib import Path

from omop_emb import machine

_PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _group(root: Path, line: str, folder: str, **files: str) -> None:
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text(f"{line}\n")
    (root / "sys/fs/cgroup" / folder).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / "sys/fs/cgroup" / folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_without_a_control_group_memory_is_the_machines(tmp_path: Path) -> None:
    assert machine.memory_bytes(tmp_path) == _PHYSICAL


def test_a_group_without_a_limit_does_not_count_and_one_above_it_does(tmp_path: Path) -> None:
    _group(tmp_path, "0::/pod/app", "pod/app", memory__max="max")
    assert machine.memory_bytes(tmp_path) == _PHYSICAL
    _group(tmp_path, "0::/pod/app", "pod", memory__max="536870912")
    assert machine.memory_bytes(tmp_path) == 536870912


def test_a_group_of_version_1_whose_folder_is_not_mounted_is_bounded_by_its_top(tmp_path: Path) -> None:
    _group(tmp_path, "4:cpu:/x\n3:memory:/gone/deep", "memory", memory__limit_in_bytes="268435456")
    assert machine.memory_bytes(tmp_path) == 268435456


def test_available_memory_is_what_the_group_leaves_where_that_is_less(tmp_path: Path) -> None:
    _group(
        tmp_path,
        "0::/app",
        "app",
        memory__max="1000000000",
        memory__current="900000000",
        memory__stat="anon 1\ninactive_file 300000000",
    )
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
    assert machine.available_memory_bytes(tmp_path) == 400_000_000


def test_available_memory_is_the_machines_where_that_is_less(tmp_path: Path) -> None:
    _group(tmp_path, "0::/app", "app", memory__max="10000000000", memory__current="0")
    (tmp_path / "proc/meminfo").write_text("MemAvailable: 2000 kB\n")
    assert machine.available_memory_bytes(tmp_path) == 2_048_000


def test_processors_are_bounded_by_the_groups_quota(tmp_path: Path) -> None:
    _group(tmp_path, "0::/app", "app", cpu__max="100000 100000")
    assert machine.processors(tmp_path) == 1
    _group(tmp_path, "0::/app", "app", cpu__max="max 100000")
    assert machine.processors(tmp_path) == len(os.sched_getaffinity(0))


def test_less_than_one_processor_is_one(tmp_path: Path) -> None:
    _group(tmp_path, "2:cpu,cpuacct:/app", "cpu/app", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    assert machine.processors(tmp_path) == 1
