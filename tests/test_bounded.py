"""Files that somebody names: nothing hangs, nothing is read without end, and each ends with one sentence."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from networks import image

from innersight.dissection.words import read_words
from innersight.errors import InnersightError
from innersight.input_spec import InputSpec
from innersight.masks import numbers, read_masks
from innersight.sources import load
from innersight.sources.run_card import RunCard, read_card, write_run
from innersight.sources.small_resnet import SmallResNet
from innersight.storage import bounded
from innersight.storage.bounded import check, check_claim, parse_json, read_bytes, read_json, read_text, reading
from innersight.trust.regions import read_regions


def kinds(folder: Path) -> dict[str, str]:
    """Names of what is no regular file, by what is said of them."""
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "gone").symlink_to(folder / "nothing")
    return {
        str(folder / "pipe"): "a pipe, socket or device",
        "/dev/zero": "a pipe, socket or device",
        str(folder / "folder"): "a folder",
        str(folder / "nothing"): "no such",
        str(folder / "gone"): "no such",
        str(folder / "loop"): "cannot be opened",
        "a\0b": "cannot be opened",
        "\ud800": "cannot be opened",
        "x" * 5000: "cannot be opened",
    }


READERS: dict[str, Callable[[str], Any]] = {
    "read_bytes": read_bytes,
    "read_text": read_text,
    "read_json": read_json,
    "check": check,
    "?labels=": lambda name: load(f"small:4?labels={name}"),
    "?checkpoint=": lambda name: load(f"small:4?checkpoint={name}"),
    "keras:": lambda name: load(f"keras:{name}"),
    "onnx:": lambda name: load(f"onnx:{name}"),
    "pt2:": lambda name: load(f"pt2:{name}"),
    "lightning:": lambda name: load(f"lightning:{name}?class=torch.nn:Linear"),
    "words": read_words,
    "boxes": lambda name: read_regions(Path(f"{name}.csv")),
    "mask": lambda name: numbers(Path(f"{name}.png")),
}


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_said_to_be_none(reader: str, tmp_path: Path) -> None:
    for name, said in kinds(tmp_path).items():
        if reader in ("boxes", "mask"):
            # They look at the ending of the name first; a folder of boxes is one of masks.
            if name != str(tmp_path / "pipe"):
                continue
            os.rename(name, f"{name}{'.csv' if reader == 'boxes' else '.png'}")
        with pytest.raises(InnersightError, match=said) as caught:
            READERS[reader](name)
        assert str(caught.value).isprintable()


def test_a_run_or_legend_that_is_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(InnersightError, match="a pipe, socket or device; give a run card"):
        read_card(tmp_path)
    (tmp_path / "masks").mkdir()
    image(1).pil.convert("L").save(tmp_path / "masks" / "a.png")
    os.mkfifo(tmp_path / "masks" / "parts.json")
    with pytest.raises(InnersightError, match=r"a file parts\.json that names them"):
        read_masks(tmp_path / "masks")


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    with file.open("wb") as written:
        written.truncate(bounded.MAX_TEXT + 1)
    with pytest.raises(InnersightError, match="64 MiB is too large for a file; the limit is 64 MiB"):
        read_bytes(file)
    # A file of /proc tells no size.
    monkeypatch.setattr(bounded, "MAX_TEXT", 10)
    with pytest.raises(InnersightError, match="too large for a file; the limit is 10 bytes"):
        read_bytes("/proc/self/status", limit=10)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff\xfe", "save it as UTF-8"),
        (b"{", "not a readable JSON file"),
        (b"[" * 100_000, "not a readable JSON file .*recursion"),
        (b"1" * 5000, "not a readable JSON file"),
    ],
)
def test_text_and_json(text: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(text)
    with pytest.raises(InnersightError, match=f"^{re.escape(str(file))}: .*{said}"):
        read_json(file)


def test_a_mark_and_ends_of_lines_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffá\r\nb".encode())
    assert read_text(file) == "á\nb"
    assert parse_json('{"a": 1}', where="x") == {"a": 1}
    # A link to a file is that file.
    (tmp_path / "b.txt").symlink_to(file)
    assert read_bytes(tmp_path / "b.txt") == file.read_bytes()


def test_a_claim_is_held_to_four_times_the_file_and_a_little() -> None:
    check_claim(4 * 100 + bounded.SLACK, 100, "a")
    with pytest.raises(InnersightError, match=r"^a: refused, it claims to hold 16 MiB in a file of 100 bytes"):
        check_claim(4 * 100 + bounded.SLACK + 1, 100, "a")
    with pytest.raises(InnersightError, match="the limit is 65,536 MiB"):
        check_claim(bounded.MAX_MODEL + 1, bounded.MAX_MODEL, "a")


def test_errors_of_other_libraries_become_one_sentence() -> None:
    for error in (IndexError("x"), MemoryError(), RecursionError("too deep"), OSError(5, "no"), KeyError("a")):
        with pytest.raises(InnersightError, match=r"^a: not a readable thing"), reading("a", "thing"):
            raise error
    with pytest.raises(Warning), reading("a", "thing"):
        raise UserWarning
    with pytest.raises(InnersightError, match=r"^mine$"), reading("a", "thing"):
        raise InnersightError("mine")


CARD = RunCard("small:4", ("a", "b", "c"), InputSpec(32, 32))


@pytest.mark.parametrize(
    "net",
    [
        "python:evilmod:f",
        "lightning:a.ckpt?class=evilmod:C",
        "keras:a.keras?module=evilmod",
        "onnx:/abs.onnx",
        "hf:folder",
        "run:other",
        "small:4?labels=/etc/passwd",
        "timm:test_resnet?checkpoint=/abs.pth",
        "../a.pt",
    ],
)
def test_a_run_card_names_no_code_and_no_files(net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evilmod.py").write_text(f"open({str(tmp_path / 'proof')!r}, 'w')\ndef f(): pass\n")
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, SmallResNet(3, width=4), RunCard(net, CARD.labels, CARD.input))
    for ask in (lambda: load(f"run:{tmp_path}"), lambda: load(tmp_path), lambda: read_card(tmp_path)):
        with pytest.raises(InnersightError, match=r"refused, its run\.json names the network .*if you trust it"):
            ask()
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"labels": "abc"}, {"labels": []}, {"labels": [1, 2, 3]}, {"net": 3}, {"net": None}, {"metrics": []},
        {"recipe": None}, {"input": []}, {"input": {"height": "a", "width": 3}},
        {"input": {"height": 1e30, "width": 3}},
        {"input": {"height": 32, "width": 10**9}}, {"input": {"height": 32, "width": 32, "channels": 10**6}},
        {"input": {"height": 32, "width": 32, "fit": "x"}}, {"input": {"height": 32, "width": 32, "mean": [[1]]}},
        {"input": {"height": 32, "width": 32, "display": ["a"]}}, {"input": {"height": 32, "width": 32, "who": 1}},
    ],
)  # fmt: skip
def test_a_run_card_with_other_kinds_of_values(change: dict[str, Any], tmp_path: Path) -> None:
    import json

    write_run(tmp_path, SmallResNet(3, width=4), CARD)
    card = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**card, **change}))
    with pytest.raises(InnersightError):
        load(f"run:{tmp_path}")
