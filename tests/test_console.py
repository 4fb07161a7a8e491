from __future__ import annotations

from zoomgap.console import decoded_again


def test_only_what_was_decoded_twice_is_told(capsys):
    decoded_again(0)
    assert capsys.readouterr() == ("", "")
    decoded_again(12)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("zoomgap: 12 decodings")
    assert err.count("\n") == 1
