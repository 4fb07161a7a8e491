"""Models that look at images and answer: the protocol, three implementations and a catalog of known families."""
