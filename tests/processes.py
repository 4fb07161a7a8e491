"""How tests start processes."""

import signal


def heed_ctrl_c() -> None:
    """For `preexec_fn`: what a shell starts in the background ignores it, and so does what that starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
