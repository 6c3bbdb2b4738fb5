"""The process with patched sockets that all tests here share."""

import os

import pytest


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='there is no /proc')
def test_jobs_leave_no_descriptor_behind(patched):
    """A few more at each job, and later tests would run out of them."""

    def job():
        assert patched('http://127.0.0.1:1', transports=['websocket']).errors
        return len(os.listdir(f'/proc/{patched.pid}/fd'))

    job()  # what is opened once and kept: the event loop's own
    assert job() == job() == job()
