"""What a hostile server sends, or does not accept, must not fill the memory of the client."""

from gevent.event import Event

from support import eventually, open_packet, read_request, respond

PINGS = '\x1e'.join(['2'] * 100_000)


def test_pings_that_come_faster_than_posts_are_answered(hostile_server, witness):
    """One PONG waits at most. Messages come after it, and `write_limit` does not count others."""
    posted = []
    may_answer = Event()
    polls = []

    def serve(sock):
        while True:
            request = read_request(sock)
            if request.method == 'POST':
                posted.append(request.body)
                may_answer.wait()
                respond(sock, 'ok')
            elif 'sid=' not in request.target:
                respond(sock, open_packet())
            else:
                polls.append(request)
                if len(polls) == 4:
                    may_answer.wait()
                respond(sock, PINGS)

    one = witness(write_limit=1000).connect(hostile_server(serve))
    one.client.send('a message')  # it would wait if the PONGs counted
    assert eventually(lambda: len(polls) == 4)
    one.client.send('another')
    assert one.client.unsent <= 2
    assert one.client._session.transport.queued < 100
    may_answer.set()
    assert eventually(lambda: not one.client.unsent)
    bodies = [body.split(b'\x1e') for body in posted]
    assert all(b'3' not in body[1:] for body in bodies)
    packets = [part for body in bodies for part in body if part != b'3']
    assert packets == [b'4a message', b'4another']
