# SPDX-License-Identifier: MIT
"""Bad archives: each is an exception of a fitting type, and no file is left half-written."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mpsnn as mps


def weights(inputs: int = 3, outputs: int = 2, label: str = "enc0.1") -> mps.ConvolutionDataSource:
    descriptor = mps.ConvolutionDescriptor(3, 3, inputs, outputs)
    return mps.ConvolutionDataSource(
        descriptor, np.ones((outputs, 3, 3, inputs), np.float32), label=label
    )


def device() -> mps.Device:
    return mps.Device("cpu")


def graph_of(device: mps.Device) -> mps.Graph:
    graph = mps.Graph(device, [mps.ConvolutionNode(mps.ImageNode("noisy"), weights()).result_image])
    graph.label = "net"
    return graph


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    archiver = mps.KeyedArchiver()
    archiver.encode("net", graph_of(device()))
    archiver.write(path)
    return path


def open_archive(path: Path) -> mps.Archive:
    return mps.KeyedUnarchiver(device()).open(path)


def header_of(data: bytes) -> tuple[int, dict[str, object]]:
    length = struct.unpack("<Q", data[:8])[0]
    return length, json.loads(data[8 : 8 + length])


def with_header(data: bytes, header: dict[str, object]) -> bytes:
    length, _ = header_of(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def test_every_truncation_is_noticed(archive: Path) -> None:
    data = archive.read_bytes()
    lengths = [*range(min(len(data), 64)), *range(64, len(data), 37), len(data) - 1]
    for length in lengths:
        archive.write_bytes(data[:length])
        with pytest.raises(mps.ArchiveError) as caught:
            open_archive(archive).decode_graph("net")
        assert archive.name in str(caught.value)


FOREIGN: dict[str, bytes] = {
    "empty": b"",
    "text": b"This is no archive, but a text that somebody wrote.\n" * 20,
    "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "zip": b"PK\x03\x04" + bytes(200),
    "huge header": struct.pack("<Q", 1 << 62) + b"{}" * 50,
    "header that is no JSON": struct.pack("<Q", 8) + b"{]{]{]{]",
    "header that is a list": struct.pack("<Q", 8) + b"[1,2,3] ",
    "safetensors of others": struct.pack("<Q", 64)
    + b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(64)
    + bytes(4),
    "deep header": struct.pack("<Q", 4096) + b'{"a":' * 400 + b"[" * 2096,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(FOREIGN[name])
    with pytest.raises(mps.ArchiveError, match=r"foreign\.safetensors"):
        open_archive(path)


def test_an_archive_of_a_newer_format_is_refused(archive: Path) -> None:
    data = archive.read_bytes()
    _, header = header_of(data)
    metadata = header["__metadata__"]
    assert isinstance(metadata, dict)
    ours = json.loads(metadata["mpsnn"])
    for change in ({"version": ours["version"] + 1}, {"version": 1 << 62}):
        text = json.dumps({**ours, **change})
        archive.write_bytes(with_header(data, {**header, "__metadata__": {"mpsnn": text}}))
        with pytest.raises(mps.ArchiveError, match="newer"):
            open_archive(archive)
    for change in ({"version": 0}, {"version": "1"}, {"version": None}, {"format": "other"}):
        text = json.dumps({**ours, **change})
        archive.write_bytes(with_header(data, {**header, "__metadata__": {"mpsnn": text}}))
        with pytest.raises(mps.ArchiveError):
            open_archive(archive)


def test_tensors_that_do_not_fit_are_refused(archive: Path) -> None:
    data = archive.read_bytes()
    _, header = header_of(data)
    name = next(key for key in header if key.endswith("weights"))
    tensor = header[name]
    assert isinstance(tensor, dict)
    for change in (
        {"shape": [2, 3, 3, 4]},
        {"dtype": "F64"},
        {"data_offsets": [0, 1 << 40]},
        {"shape": [-1]},
    ):
        archive.write_bytes(with_header(data, {**header, name: {**tensor, **change}}))
        with pytest.raises(mps.ArchiveError):
            open_archive(archive).decode_graph("net")
    archive.write_bytes(with_header(data, {k: v for k, v in header.items() if k != name}))
    with pytest.raises(mps.ArchiveError):
        open_archive(archive).decode_graph("net")


PATHS = ("../net", "a/../../net", "/net", "a\\\\net", "net\0", "..")


@pytest.mark.parametrize("elsewhere", PATHS)
def test_names_that_are_paths_to_elsewhere_are_refused(archive: Path, elsewhere: str) -> None:
    with pytest.raises(mps.InvalidArgumentError, match="path to elsewhere"):
        mps.KeyedArchiver().encode(elsewhere, graph_of(device()))
    data = archive.read_bytes()
    _, header = header_of(data)
    metadata = header["__metadata__"]
    assert isinstance(metadata, dict)
    ours = json.loads(metadata["mpsnn"])
    renamed = {**ours, "graphs": {elsewhere: ours["graphs"]["net"]}}
    changed = {**header, "__metadata__": {"mpsnn": json.dumps(renamed)}}
    archive.write_bytes(with_header(data, changed))
    with pytest.raises(mps.ArchiveError, match=r"archive\.graphs: .*path to elsewhere"):
        open_archive(archive)
    tensors = {elsewhere if key == "enc0.1.weights" else key: header[key] for key in header}
    archive.write_bytes(with_header(data, tensors))
    with pytest.raises(mps.ArchiveError, match="path to elsewhere"):
        open_archive(archive)


@pytest.mark.parametrize(
    ("label", "name"),
    [("/block/conv", "block/conv"), ("../up", "0"), ("a/..b", "a/..b"), ("/", "0")],
)
def test_labels_that_are_paths_are_archived_under_other_names(
    tmp_path: Path, label: str, name: str
) -> None:
    path = tmp_path / "net.safetensors"
    node = mps.ConvolutionNode(mps.ImageNode("noisy"), weights(label=label))
    archiver = mps.KeyedArchiver()
    archiver.encode("net", mps.Graph(device(), [node]))
    archiver.write(path)
    assert f"{name}.weights" in header_of(path.read_bytes())[1]
    assert open_archive(path).decode_graph("net").data_sources[0].label == label


def test_unknown_key(archive: Path) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=r'"nat".*"net"|"net".*"nat"'):
        open_archive(archive).decode_graph("nat")


def test_empty_and_repeated_keys() -> None:
    archiver = mps.KeyedArchiver()
    with pytest.raises(mps.InvalidArgumentError, match="key"):
        archiver.encode("", graph_of(device()))
    archiver.encode("net", graph_of(device()))
    with pytest.raises(mps.InvalidArgumentError, match='"net"'):
        archiver.encode("net", graph_of(device()))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(mps.FileError, match="nowhere"):
        open_archive(tmp_path / "nowhere.safetensors")
    with pytest.raises(mps.FileError):
        open_archive(tmp_path)
    archiver = mps.KeyedArchiver()
    archiver.encode("net", graph_of(device()))
    with pytest.raises(mps.FileError, match="no_folder"):
        archiver.write(tmp_path / "no_folder" / "net.safetensors")


WRITE_WITH_LIMIT = """
import resource, sys
import mpsnn as mps, numpy as np
weights = np.ones((8, 3, 3, 8), np.float32)
source = mps.ConvolutionDataSource(mps.ConvolutionDescriptor(3, 3, 8, 8), weights)
node = mps.ConvolutionNode(mps.ImageNode("x"), source)
archiver = mps.KeyedArchiver()
archiver.encode("net", mps.Graph(mps.Device("cpu"), [node.result_image]))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    archiver.write(sys.argv[1])
except mps.FileError as error:
    print(error)
"""


def test_no_space_left_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"the old contents")
    done = subprocess.run(
        [sys.executable, "-c", WRITE_WITH_LIMIT, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "net.safetensors" in done.stdout
    assert path.read_bytes() == b"the old contents"
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "a temporary file is left"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_that_is_always_full() -> None:
    archiver = mps.KeyedArchiver()
    archiver.encode("net", graph_of(device()))
    with pytest.raises(mps.FileError, match="/dev/full"):
        archiver.write("/dev/full")
    assert Path("/dev/full").exists()


def test_a_folder_that_must_not_be_written(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    archiver = mps.KeyedArchiver()
    archiver.encode("net", graph_of(device()))
    with pytest.raises(mps.FileError):
        archiver.write(tmp_path / "net.safetensors")
