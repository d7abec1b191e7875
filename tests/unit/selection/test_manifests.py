"""Manifests: what is read, what is refused and with which words, what is written."""

from __future__ import annotations

import csv
import gzip
import io
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_covid.core.errors import ManifestError
from tcia_covid.core.models import SERIES_NAMES, Series
from tcia_covid.selection.manifests import read as reading
from tcia_covid.selection.manifests.model import Manifest
from tcia_covid.selection.manifests.read import read_manifest
from tcia_covid.selection.manifests.write import csv_lines, tcia_lines, uid_lines

A = "1.3.6.1.4.1.14519.5.2.1.9999.103.3144050301958868320974875419705"
B = "1.3.6.1.4.1.14519.5.2.1.9999.103.2009432504168213786754397912410"
C = "1.2.826.0.1.3680043.10.474.419639.108518937868403894887894311320"

DATA = Path(__file__).parents[2] / "data" / "manifests"
TCIA = f"""\
downloadServerUrl=https://public.cancerimagingarchive.net/nbia-download/servlet/DownloadServlet
includeAnnotation=true
noOfrRetry=4
databasketId=manifest-1608266677008.tcia
manifestVersion=3.0
ListOfSeriesToDownload=
{A}
{B}
"""
NBIA_METADATA = (
    "Series UID,Collection,3rd Party Analysis,Data Description URI,Subject ID,Study UID,"
    "Study Description,Study Date,Series Description,Manufacturer,Modality,SOP Class Name,"
    "SOP Class UID,Number of Images,File Size,File Location,Download Timestamp\r\n"
    f"{C},MIDRC-RICORD-1A,,https://doi.org/10.7937/VTW4-X588,MIDRC-RICORD-1A-419639-000082,"
    '1.2.3,CT CHEST, 2 VIEWS,08-02-2002,0.625" bone,GE,CT,CT Image Storage,1.2.840,12,12.34 MB,'
    "./MIDRC-RICORD-1A/x,2021-01-01\r\n"
)


def series(uid: str, **known: object) -> Series:
    facts: dict[str, object] = {"collection": "C", "patient": "P", "study": "1.2", **known}
    return Series(uid=uid, **facts)  # type: ignore[arg-type]


def read(text: str) -> Manifest:
    return read_manifest("-", stdin=io.BytesIO(text.encode()))


def read_file(folder: Path, name: str, text: str | bytes) -> Manifest:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_manifest(path)


def uids(manifest: Manifest) -> tuple[str, ...]:
    """All identifiers, of any kind."""
    return tuple(value for values in manifest.identifiers.values() for value in values)


def test_a_tcia_manifest_gives_its_uids_in_order_and_its_server(tmp_path: Path) -> None:
    manifest = read_file(tmp_path, "cart.tcia", TCIA)
    assert manifest.series == (A, B)
    assert manifest.format == "TCIA manifest"
    assert manifest.duplicates == 0
    assert manifest.server is not None
    assert manifest.server.endswith("/DownloadServlet")
    assert manifest.name == str(tmp_path / "cart.tcia")


@pytest.mark.parametrize(
    "text",
    [
        TCIA.replace("\n", "\r\n"),
        TCIA.replace("\n", "\r"),
        "\ufeff" + TCIA,
        TCIA.replace("\n", "\n\n  \n"),
        TCIA.replace(A, f"{A},").replace(B, f"  {B} ,"),
        TCIA.replace(f"{A}\n", f"Series ID\n{A}\n"),
        TCIA.replace(f"{A}\n", f'"Series ID",\n"{A}",\n'),
        TCIA.replace(f"Download=\n{A}", f"Download={A}"),
        TCIA.replace(f"{A}\n{B}", f"{A},{B}"),
        f"ListOfSeriesToDownload=\n{A}\n{B}\nmanifestVersion=3.0\ndownloadServerUrl=https://x/y\n",
        f"MANIFESTVERSION = 3.0\nlistofseriestodownload =\n{A}\n{B}",
    ],
    ids=[
        "CRLF", "CR", "BOM", "blank lines", "trailing commas", "header", "quoted header",
        "UID next to the key", "commas", "keys after the list", "keys in lower case",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["cart.tcia", "cart.txt", "cart", "-"])
def test_a_tcia_manifest_is_read_in_any_form(tmp_path: Path, text: str, name: str) -> None:
    manifest = read(text) if name == "-" else read_file(tmp_path, name, text)
    assert manifest.series == (A, B)
    assert manifest.format == "TCIA manifest"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_utf16_is_read(tmp_path: Path, encoding: str) -> None:
    assert read_file(tmp_path, "cart.tcia", TCIA.encode(encoding)).series == (A, B)


def test_repeated_series_are_merged_and_counted(tmp_path: Path) -> None:
    manifest = read_file(tmp_path, "cart.tcia", TCIA + f"{A}\n{C}\n{A}\n")
    assert manifest.series == (A, B, C)
    assert manifest.duplicates == 2


@pytest.mark.parametrize(
    "text",
    [
        f"SeriesInstanceUID,Modality\n{A},CT\n{B},CT\n",
        f"modality,series uid\nCT,{A}\n\n,,\nCT,{B}\n",
        f'"Subject, ID";"Series Instance UID"\n"a;b";"{A}"\nx;{B}\n',
        f"\tseries_instance_uid\n0\t{A}\n1\t{B}\n",
        f"SERIESINSTANCEUID\n{A}\n{B}\n",
        f'note,Series ID\n"two\nlines",{A}\nx,{B}\n',
        f"Series UID,SeriesInstanceUID\nx,{A}\ny,{B}\n",
    ],
    ids=["IDC", "NBIA", "semicolons", "tabs", "one column", "line break", "two columns"],
)
@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "-"])
def test_a_table_is_read_by_its_series_column(tmp_path: Path, text: str, name: str) -> None:
    manifest = read(text) if name == "-" else read_file(tmp_path, name, text)
    assert manifest.series == (A, B)
    assert manifest.format in ("CSV", "TSV")
    assert manifest.server is None


def test_the_metadata_file_of_nbias_retriever_is_a_manifest(tmp_path: Path) -> None:
    assert read_file(tmp_path, "metadata.csv", NBIA_METADATA).series == (C,)


def test_a_plain_list_may_have_comments(tmp_path: Path) -> None:
    manifest = read_file(tmp_path, "list.txt", f"# mine\n{A}  # first\n\n{B},\n")
    assert manifest.identifiers == {"word": {A: 2, B: 4}}
    assert manifest.format == "plain list"


UID = "is not a SeriesInstanceUID:"


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        (
            "a.tcia",
            TCIA + "1.2.x.4\n",
            f"line 9 (TCIA manifest): '1.2.x.4' {UID} character 'x' at ",
        ),
        ("a.tcia", f"{TCIA}\n\n12\n".replace("\n", "\r\n"), f"line 11 (TCIA manifest): '12' {UID}"),
        ("a.tcia", TCIA + "12\n", "it has no dot"),
        (
            "a.tcia",
            TCIA + "1." * 40 + "1\n",
            f"'{'1.' * 40}1' {UID} it has 81 characters, and a UID ",
        ),
        (
            "a.tcia",
            TCIA + "1..2\n",
            f"'1..2' {UID} a number is missing next to the dot at position 2",
        ),
        ("a.tcia", TCIA + "1.2.\n", "a number is missing next to the dot at position 4"),
        ("a.tcia", TCIA + "1.٣\n", "character '٣' at position 3"),
        ("a.tcia", TCIA + f"{A}{A}\n", "it has 128 characters"),
        ("a.tcia", TCIA + "1.36145E+10\n", "a spreadsheet turned it into a number"),
        ("a.tcia", TCIA.partition("1.3")[0], "a.tcia (TCIA manifest) names no series"),
        ("a.tcia", "manifestVersion=1.0\nfoo=1\n", "a.tcia (TCIA manifest) names no series"),
        ("a.tcia", "", "a.tcia names no series: it is empty"),
        ("a.txt", "\n \r\n", "a.txt names no series: it is empty"),
        ("a.txt", "# nothing\n\n", "a.txt (plain list) names no series"),
        (
            "a.txt",
            f"{A}\n<!DOCTYPE html>\n",
            "line 2 (plain list): '<!DOCTYPE html>' is not a UID, ",
        ),
        ("a.txt", f"{A}\n1.2.3a\n", "'1.2.3a' is not a UID: character 'a' at position 6"),
        (
            "a.txt",
            f"{A}\nhttps://host/a.csv\n",
            "line 2 (plain list): 'https://host/a.csv' has no ",
        ),
        ("a.s5cmd", "cp s3://bucket/* .\n", "line 1 (s5cmd manifest): 's3://bucket/*' is not the "),
        ("a.txt", f"{A}\n".encode() + b"\xff\xfa", "line 2 (plain list): 'ÿú'"),
        ("a.tcia", TCIA.encode("utf-16")[:-1], "(TCIA manifest): not utf-16 text"),
        ("a.tcia", b"PK\x03\x04\x00\x00", "a.tcia is a ZIP that cannot be read: "),
        ("a.txt", b"\x01\x02\x03", "a.txt is binary data (byte 0x01), not a manifest"),
        ("a.xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "XML with a document type definition"),
        ("a.xml", "<a><b/></a>", "a.xml (XML) names no series"),
    ],
)
def test_errors_name_file_and_line(
    tmp_path: Path, name: str, text: str | bytes, complaint: str
) -> None:
    with pytest.raises(ManifestError) as raised:
        read_file(tmp_path, name, text)
    assert complaint in raised.value.message
    assert len(raised.value.message) < len(str(tmp_path)) + 300


def test_a_folder_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read: "):
        read_manifest(tmp_path)
    with pytest.raises(ManifestError, match=r"there is no file .*absent\.tcia") as absent:
        read_manifest(tmp_path / "absent.tcia")
    assert absent.value.hint.startswith("check its path")
    with pytest.raises(ManifestError, match="cannot be read: "):
        read_manifest("a\0.tcia")


def test_a_file_above_the_limit_is_not_read_completely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_MANIFEST_SIZE", 2 << 20)
    with pytest.raises(ManifestError, match="larger than 2 MiB"):
        read_file(tmp_path, "a.txt", b" " * (3 << 20))
    with pytest.raises(ManifestError, match="larger than 2 MiB"):
        read_manifest("-", stdin=io.BytesIO(b" " * (3 << 20)))


def test_a_closed_standard_input_is_refused(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ManifestError, match="standard input names no series"):
        read_manifest("-")


def test_standard_input_is_named_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"1.2.3\n1.2.x\n")))
    with pytest.raises(
        ManifestError, match=r"standard input, line 2 \(plain list\): '1.2.x' is not"
    ):
        read_manifest("-")


FULL = [
    series(A, modality="CT", description='a "b", c\tµ', number=3, image_count=5, size=1000),
    series(B, collection="Other", body_part=None, bucket="idc-open-data", crdc_uuid="3582"),
]


@pytest.mark.parametrize("name", ["a.tcia", "a.txt", "a.csv", "a.tsv"])
def test_written_manifests_can_be_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.tcia":
        lines = tcia_lines(FULL)
    elif name == "a.txt":
        lines = uid_lines(FULL)
    else:
        lines = csv_lines(FULL, delimiter="\t" if name == "a.tsv" else ",")
    path.write_text("\n".join(lines), encoding="utf-8")
    assert uids(read_manifest(path)) == (A, B)


def test_a_tcia_manifest_is_written_as_tcia_writes_it() -> None:
    lines = tcia_lines(FULL, basket="manifest-1608266677008.tcia")
    assert [*lines] == TCIA.replace("//public.", "//nbia.").splitlines()
    basket = [*tcia_lines(FULL)][3]
    assert basket.startswith("databasketId=manifest-1")
    assert basket.removeprefix("databasketId=manifest-").removesuffix(".tcia").isdigit()


def test_a_csv_has_the_column_names_of_the_archives() -> None:
    first, second = csv.DictReader(csv_lines(FULL))
    assert list(first) == list(SERIES_NAMES.values())
    assert first["SeriesDescription"] == 'a "b", c µ'
    assert (first["ImageCount"], first["FileSize"]) == ("5", "1000")
    assert (second["BodyPartExamined"], second["crdc_series_uuid"]) == ("", "3582")


SEEDS = [
    TCIA.encode(),
    f"SeriesInstanceUID,Modality\n{A},CT\n{B},CT\n".encode(),
    f"# list\n{A}\n{B}\n".encode(),
    NBIA_METADATA.encode(),
    f'[{{"SeriesInstanceUID": "{A}"}}, {{"Series UID": "{B}", "x": [1]}}]'.encode(),
    f'{{"@type": "Dataset", "distribution": [{{"name": "{A}", "contentUrl": "x.tcia"}}]}}'.encode(),
    b"cp s3://idc-open-data/35823972-03f1-41e3-8ab2-418c862ec07c/* .\n" * 4,
    gzip.compress(TCIA.encode(), mtime=0),
    (DATA / "spreadsheet.xlsx").read_bytes(),
]


@given(
    seed=st.sampled_from(SEEDS),
    where=st.integers(0, 5000),
    drop=st.integers(0, 40),
    extra=st.one_of(
        st.binary(max_size=20), st.sampled_from([b'"', b"\r", b"\0", b"=", b",", b"\n"])
    ),
    name=st.sampled_from(["a.tcia", "a.csv", "a.tsv", "a.txt", "a"]),
)
def test_a_damaged_manifest_is_read_or_gives_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory,
    seed: bytes,
    where: int,
    drop: int,
    extra: bytes,
    name: str,
) -> None:
    where %= len(seed)
    data = seed[:where] + extra + seed[where + drop :]
    with suppress(ManifestError):
        manifest = read_file(tmp_path_factory.getbasetemp(), name, data)
        assert uids(manifest)


@pytest.mark.parametrize("name", ["a.tcia", "a.csv", "a.txt"])
@pytest.mark.parametrize("line", ["\n", "# a comment\n", "key=value\n", "   \n"])
def test_a_long_list_without_uids_is_refused_at_once(tmp_path: Path, name: str, line: str) -> None:
    path = tmp_path / name
    path.write_text(line * (10_000_000 // len(line)), encoding="utf-8")
    started = time.process_time()
    with pytest.raises(ManifestError, match=r"names no series|no column|is not a UID"):
        read_manifest(path)
    assert time.process_time() - started < 5


def test_a_long_list_whose_lines_are_blank_is_read_without_looking_back(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n" * 2_000_000 + f"{A}\n", encoding="utf-8")
    assert read_manifest(path).identifiers == {"word": {A: 2_000_001}}


def test_formulas_in_a_csv_list_are_text_unless_they_are_kept() -> None:
    values = {"description": "=cmd|'/C calc'!A0", "body_part": "-1.5", "modality": "C\x1bT"}
    one = Series(A, "C", "@P1", "1.2", **values)
    safe, kept = (
        next(csv.DictReader(csv_lines([one], keep_formulas=keep))) for keep in (False, True)
    )
    assert (safe["SeriesDescription"], safe["PatientID"]) == ("'=cmd|'/C calc'!A0", "'@P1")
    assert (kept["SeriesDescription"], kept["PatientID"]) == ("=cmd|'/C calc'!A0", "@P1")
    assert safe["BodyPartExamined"] == kept["BodyPartExamined"] == "-1.5"
    assert safe["Modality"] == kept["Modality"] == "C T"
