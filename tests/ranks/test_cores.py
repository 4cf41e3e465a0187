"""Cores that this process may use: its affinity, and the quotas of its control groups."""

import os

import pytest

from alignmlm.ranks import cores


def written(folder, **texts):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize(
    ("maximum", "expected"),
    [("200000 100000", [2.0]), ("150000 100000", [1.5]), ("max 100000", []), ("", [])],
)
def test_a_quota_of_version_2(tmp_path, maximum, expected):
    (tmp_path / "own").write_text("0::/a/b\n")
    written(tmp_path / "groups/a/b", cpu__max=maximum)
    assert list(cores.quotas(tmp_path / "own", tmp_path / "groups")) == expected


def test_groups_above_limit_too(tmp_path):
    (tmp_path / "own").write_text("0::/a/b\n")
    written(tmp_path / "groups/a/b", cpu__max="max 100000")
    written(tmp_path / "groups/a", cpu__max="400000 100000")
    assert list(cores.quotas(tmp_path / "own", tmp_path / "groups")) == [4.0]


@pytest.mark.parametrize(("quota", "expected"), [("300000", [3.0]), ("-1", [])])
def test_a_quota_of_version_1(tmp_path, quota, expected):
    own = "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n0::/\n"
    (tmp_path / "own").write_text(own)
    folder = tmp_path / "groups/cpu,cpuacct"  # as a container sees it: its own group is the root
    written(folder, cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
    assert list(cores.quotas(tmp_path / "own", tmp_path / "groups")) == expected


def test_no_control_groups(tmp_path):
    assert not list(cores.quotas(tmp_path / "none", tmp_path))


@pytest.mark.parametrize(("maximum", "expected"), [("10000 100000", 1), ("150000 100000", 2)])
def test_usable_cores_follow_the_smallest_limit(tmp_path, monkeypatch, maximum, expected):
    (tmp_path / "own").write_text("0::/\n")
    written(tmp_path / "groups", cpu__max=maximum)
    monkeypatch.setattr(cores, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(cores, "ALL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert cores.usable_cores() == expected
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert cores.usable_cores() == 1
