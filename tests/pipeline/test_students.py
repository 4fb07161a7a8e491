from dataclasses import replace

import pytest

from zoomgap.errors import ModelError
from zoomgap.pipeline.students import MAX_FAILED_VOTES, VoteKeeper
from zoomgap.records import Vote
from zoomgap.storage import Store


def test_a_build_ends_after_many_failed_votes_in_a_row_and_keeps_them(tmp_path, monkeypatch):
    stored = []
    with Store.open(tmp_path / "z.db") as store:
        monkeypatch.setattr(store, "put_votes", stored.extend)
        keep = VoteKeeper(store)
        good = Vote(question="q", labels="agent", voter="v", index=0, answer="red")
        bad = replace(good, answer=None, error="down")
        for vote in [*[bad] * (MAX_FAILED_VOTES - 1), good, *[bad] * (MAX_FAILED_VOTES - 1)]:
            keep(vote)
        with pytest.raises(ModelError, match=r"20 errors in a row.*down"):
            keep(bad)
    assert len(stored) == 2 * MAX_FAILED_VOTES
