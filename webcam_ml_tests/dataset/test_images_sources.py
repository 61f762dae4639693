"""What the text in `image_path_or_url` means, and what of it may be shown."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webcam_ml.dataset.images import ImageFetchError, ImageSettings, fetch_bytes
from webcam_ml.dataset.images._sources import (
    LocalFile,
    StoredObject,
    WebAddress,
    parse_source,
    place_of,
    shown,
)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("pictures/a.jpg", LocalFile(Path("pictures/a.jpg"))),
        ("/srv/a b#1.jpg", LocalFile(Path("/srv/a b#1.jpg"))),
        ("file:///srv/a%20b%231.jpg", LocalFile(Path("/srv/a b#1.jpg"))),
        ("file://localhost/srv/a.jpg", LocalFile(Path("/srv/a.jpg"))),
        ("local:///srv/a.jpg", LocalFile(Path("/srv/a.jpg"))),
        ("http://host/a.jpg", WebAddress("http://host/a.jpg")),
        ("HTTPS://host/a.jpg", WebAddress("HTTPS://host/a.jpg")),
        ("gs://bucket/a.jpg", StoredObject("gs", "gs://bucket/a.jpg")),
        # A chain that does not begin like a URL is a (missing) file, so it reaches no network.
        ("simplecache::http://h/a", LocalFile(Path("simplecache::http://h/a"))),
    ],
)
def test_the_scheme_decides_what_a_source_is(text, source):
    assert parse_source(text) == source


def test_a_file_url_is_what_the_standard_library_makes_of_a_path(tmp_path):
    path = tmp_path / "a b#?%.jpg"
    assert parse_source(path.as_uri()) == LocalFile(path)


@pytest.mark.parametrize("text", ["zip://a.jpg::http://127.0.0.1/x.zip", "file://other/srv/a.jpg"])
def test_chains_and_files_of_other_machines_are_refused(text):
    with pytest.raises(ImageFetchError) as failure:
        parse_source(text)
    assert failure.value.reason == "unsupported_source"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("pictures/a.jpg", "pictures"),
        ("file:///srv/x/a.jpg", "/srv/x"),
        ("https://Images.Example.org/a/b.jpg?token=1", "images.example.org"),
        ("http://host:8080/a.jpg", "host:8080"),
        ("http://[::1]:80/a.jpg", "[::1]:80"),
        ("gs://bucket/folder/a.jpg", "gs://bucket"),
        ("http://[broken/a.jpg", "(malformed URLs)"),
        ("http://host:port/a.jpg", "(malformed URLs)"),
    ],
)
def test_failures_are_grouped_by_host_bucket_or_folder(text, place):
    assert place_of(text) == place


@given(
    scheme=st.sampled_from(["http", "https", "gs", "s3", "ftp"]),
    port=st.sampled_from(["", ":81", ":nonsense"]),
    path=st.text(alphabet="ab/.:@[]", max_size=8),
)
def test_neither_password_nor_token_is_ever_shown(scheme, port, path):
    text = f"{scheme}://user:SECRET@host{port}/{path}?token=SECRET#SECRET"
    assert "SECRET" not in shown(text)
    assert "SECRET" not in place_of(text)


def test_nothing_is_read_outside_of_local_root(tmp_path):
    root = tmp_path / "pictures"
    root.mkdir()
    (root / "a.jpg").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(b"outside")
    (root / "link.jpg").symlink_to(tmp_path / "secret")
    settings = ImageSettings(local_root=str(root))

    assert fetch_bytes(root / "a.jpg", settings) == b"inside"
    assert fetch_bytes((root / "a.jpg").as_uri(), settings) == b"inside"
    for path in (tmp_path / "secret", root / "link.jpg", root / ".." / "secret"):
        with pytest.raises(ImageFetchError) as caught:
            fetch_bytes(path, settings)
        assert caught.value.reason == "outside_local_root"


@pytest.mark.parametrize("path", ["/dev/zero", "/proc"])
def test_devices_and_folders_are_no_files(path):
    with pytest.raises(ImageFetchError) as caught:
        fetch_bytes(path, ImageSettings())

    assert caught.value.reason == "not_a_file"


def test_a_file_of_the_kernel_is_not_waited_for():
    assert fetch_bytes("/proc/self/status", ImageSettings()) == b""


@pytest.mark.parametrize(
    "text", ["https://a.example/\x1b[2J\nERROR", "folder\n/\x1b]0;x", "a\x07://b"]
)
def test_what_is_not_printable_is_escaped(text):
    assert shown(text).isprintable()
    assert place_of(text).isprintable()
