"""The bytes of queries, against those that the standards' figures give by hand."""

from aiomcast.system.queries import igmp_query, mld_query


def test_igmpv3() -> None:
    # RFC 3376, 4.1. The words that are not 0 are 1100 and 007d: 117d, whose complement is ee82.
    assert igmp_query().hex(" ") == "11 00 ee 82 00 00 00 00 00 7d 00 00"


def test_mldv2() -> None:
    # RFC 3810, 5.1: 8 bytes, the group, 4 bytes. The kernel fills in the checksum.
    assert mld_query().hex(" ") == " ".join(["82 00 00 00 00 00 00 00", *["00"] * 16, "00 7d 00 00"])
