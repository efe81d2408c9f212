"""What nobody means is told in one line, with status 2, and nothing else happens."""

from pathlib import Path

import pytest

pytest.importorskip("rich")

from aiomcast.command.cli import main
from tests.support.platforms import linux_only

LISTEN = "listen 232.1.1.1 5000 -i lo"
RECORD = "record 127.0.0.2@232.1.1.1:5000 -i lo --to"
GAPS = "gaps 127.0.0.2@232.1.1.1:5000 -i lo --sequence"
WRONG = {
    f"{LISTEN} 6000": "channel '6000': the PORT is missing",
    f"{LISTEN} -s=": "'' is not an address",
    f"{LISTEN} -s 127.0.0.2,127.0.0.2": "source 127.0.0.2 is listed twice: ",
    f"{LISTEN} -s 127.0.0.2 --buffer 99999G": "receive_buffer 107373108658176: give a number of bytes",
    f"{LISTEN} --channels .": "channels .: Is a directory",
    f"{LISTEN} --channels PLACE/binary": "binary: it is no text",
    f"{LISTEN} --channels PLACE/none": "none: No such file or directory",
    f"{LISTEN} --channels PLACE/list": "list, line 2: channel 'nonsense:x': ",
    "listen --channels PLACE/empty": "no channel: give GROUP PORT",
    "listen @232.1.1.1:5000 -i lo": "channel '@232.1.1.1:5000': no source before the @",
    "listen ,@232.1.1.1:5000 -i lo": "'' is not an address",
    "listen 127.0.0.2@@232.1.1.1:5000 -i lo": "'127.0.0.2@' is not an address",
    "listen 239.255.255.254+5:5000 -i lo": "240.0.0.0 is not a multicast group",
    "listen 255.255.255.255+2:5000 -i lo": "channel 255.255.255.255+2: ",
    "listen [ff15::1]:5000 -i 99999": "there is no interface 99999",
    "listen [ff15::1:5000": "channel '[ff15::1:5000'",
    "listen 239.1.1.1:70000 -i lo": "port 70000 is not a UDP port",
    "send 239.1.1.1 5000 --rate -1": "--rate: -1 is less than 0",
    "send 239.1.1.1 5000 --rate nan": "--rate: 'nan' is no number",
    "send 239.1.1.1 5000 --ttl 300 -i lo": "ttl 300: give a whole number from 0 to 255",
    "send 239.1.1.1 70000 -i lo": "port 70000 is not a UDP port",
    "send 239.1.1.1 5000 --answers -1": "--answers: -1 is less than 0",
    "send 10.0.0.1 5000": "10.0.0.1 is not a multicast group",
    "send 239.1.1.1 5000 --file .": "--file: '.': Is a directory",
    "doctor 239.1.1.1 99999": "port 99999 is not a UDP port",
    "doctor 239.1.1.1 5000 --seconds 0": "--seconds: 0 is less than 0.01",
    "doctor 239.1.1.1 5000 -s nonsense": "'nonsense' is not an address",
    "demo 5": "'5' is one argument too many",
    "interfaces lo": "'lo' is one argument too many",
    "completion": "SHELL is missing",
    f"{GAPS} u32@70000": "--sequence: offset 70000: give a number of bytes from 0 to 65535",
    f"{GAPS} rtp -t -3": "--seconds: -3 is less than 0",
    "gaps 232.1.1.1 --sequence rtp": "channel '232.1.1.1': the PORT is missing",
    f"{RECORD} PLACE/": "is a folder: name a file",
    f"{RECORD} . --rotate-bytes 1K": "--to '.' is a folder: name a file",
    f"{RECORD}=": "--to '': name a file",
    f"{RECORD} PLACE/x --channels PLACE/none": "none: No such file or directory",
    f"{RECORD} {'long' * 100}": "File name too long",
}


@linux_only
@pytest.mark.parametrize(("arguments", "told"), WRONG.items(), ids=WRONG)
def test_it_is_told_in_a_line(
    arguments: str, told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").touch()
    (tmp_path / "list").write_text("239.1.1.1:5000\nnonsense:x\n")
    before = sorted(tmp_path.iterdir())
    assert main(arguments.replace("PLACE", str(tmp_path)).split()) == 2
    output, errors = capfd.readouterr()
    (line,) = errors.splitlines()
    assert line.startswith("aiomcast: ")
    assert told in line
    assert output == ""
    assert sorted(tmp_path.iterdir()) == before
