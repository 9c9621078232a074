"""For every test: Ctrl-C works in what the tests start, also where they run in a background job."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # what a shell gives to background jobs
    signal.signal(signal.SIGINT, signal.default_int_handler)
