"""Libraries that are not installed: named together with the extra that brings them."""

import builtins
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from innersight.errors import MissingExtraError
from innersight.sources import entries, load

LIBRARIES = {
    "timm:resnet18": ("timm", "timm"),
    "hf:owner/name": ("transformers", "hf"),
    "keras:a.keras": ("keras", "keras"),
    "keras:a.h5": ("h5py", "keras"),
    "onnx:a.onnx": ("onnx2torch", "onnx"),
    "onnx:a.onnx?size=32": ("onnxruntime", "onnx"),
}


@pytest.mark.parametrize("source", LIBRARIES)
def test_a_library_that_is_missing_names_the_extra(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, extra = LIBRARIES[source]
    real = builtins.__import__

    def blocked(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == library:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **options)

    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(builtins, "__import__", blocked)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.h5").write_bytes(b"x")
    (tmp_path / "a.onnx").write_bytes(b"x")
    with zipfile.ZipFile("a.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(MissingExtraError, match=rf"{library} is not installed; .*'innersight\[{extra}\]'"):
        load(source)


def test_no_origin_imports_its_library_before_it_is_asked() -> None:
    code = (
        "import sys, innersight.sources as s\n"
        "s.entries()\n"
        "optional = {'timm', 'transformers', 'keras', 'h5py', 'onnx', 'onnx2torch', 'onnxruntime', 'lightning'}\n"
        "print(sorted(optional & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
    assert "keras" in [entry.name for entry in entries()]
