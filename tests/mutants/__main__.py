"""`python -m tests.mutants`: whether a module's own tests notice every small change to it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from .listed import FILE, Listed, read_listed
from .mutations import mutants_of
from .run import PACKAGE, ROOT, Runner

#: What is mutated, and the tests that have to notice: one file, or several.
FILES = {
    'addresses.py': 'tests/unit/test_addresses.py',
    'connecting.py': 'tests/unit/test_connecting.py',
    'disconnect_handler.py': 'tests/unit/test_disconnect_handler.py',
    'dispatcher.py': 'tests/unit/test_dispatcher.py',
    'handler_calls.py': 'tests/unit/test_handler_calls.py',
    'heartbeat.py': 'tests/unit/test_heartbeat.py',
    'incoming.py': 'tests/unit/test_session.py',
    'lifecycle.py': 'tests/unit/test_lifecycle.py',
    'net/by_caller.py': 'tests/unit/test_by_caller.py',
    'net/caller_socket.py': 'tests/unit/test_caller_socket.py',
    'net/closing.py': 'tests/unit/test_closing.py',
    'net/deadlines.py': 'tests/unit/test_deadlines.py tests/unit/test_heartbeat.py',
    'net/dial.py': 'tests/unit/test_dial.py',
    'net/errors.py': 'tests/unit/test_errors.py',
    'net/outbox.py': 'tests/unit/test_outbox.py',
    'net/plain.py': 'tests/unit/test_plain.py',
    'net/race.py': 'tests/unit/test_race.py',
    'net/resolve.py': 'tests/unit/test_resolve.py',
    'net/room.py': 'tests/unit/test_stream.py',
    'net/socks.py': 'tests/unit/test_socks.py',
    'net/stream.py': 'tests/unit/test_stream.py tests/unit/test_gathering.py',
    'net/tls.py': 'tests/unit/test_tls.py',
    'net/tls_over_tls.py': 'tests/unit/test_tls_over_tls.py',
    'net/tunnel.py': 'tests/unit/test_tunnel.py',
    'net/unpatched.py': 'tests/unit/test_unpatched.py',
    'net/wakeup.py': 'tests/unit/test_wakeup.py',
    'net/watchers.py': 'tests/unit/test_watchers.py',
    'other_threads.py': 'tests/unit/test_other_threads.py',
    'outgoing.py': 'tests/unit/test_outgoing.py',
    'per_hub.py': 'tests/unit/test_per_hub.py',
    'protocol/close_payload.py': 'tests/unit/test_frames.py',
    'protocol/compiled.py': 'tests/unit/test_compiled.py',
    'protocol/frames.py': 'tests/unit/test_frames.py',
    'protocol/http1.py': 'tests/unit/test_http1.py',
    'protocol/json_depth.py': 'tests/unit/test_json_depth.py',
    'protocol/json_functions.py': 'tests/unit/test_json_functions.py',
    'protocol/masking.py': 'tests/unit/test_masking.py',
    'protocol/messages.py': 'tests/unit/test_messages_in_frames.py',
    'protocol/open_packet.py': 'tests/unit/test_open_packet.py',
    'protocol/packet.py': 'tests/unit/test_packet.py',
    'protocol/payload.py': 'tests/unit/test_payload.py',
    'protocol/utf8.py': 'tests/unit/test_frames.py',
    'session.py': 'tests/unit/test_session.py',
    'transports/by_websocket_client.py': 'tests/unit/test_by_websocket_client.py',
    'transports/caller_session.py': 'tests/unit/test_caller_session.py',
    'transports/connection.py': 'tests/unit/test_connection.py',
    'transports/cookies.py': 'tests/unit/test_cookies.py',
    'transports/direct.py': 'tests/unit/test_direct.py tests/unit/test_exchange.py',
    'transports/environment.py': 'tests/unit/test_environment.py',
    'transports/exchange.py': 'tests/unit/test_direct.py tests/unit/test_exchange.py',
    'transports/handshake.py': 'tests/unit/test_handshake.py',
    'transports/headers.py': 'tests/unit/test_headers.py',
    'transports/http.py': 'tests/unit/test_http.py',
    'transports/http_reader.py': 'tests/unit/test_http_reader.py',
    'transports/in_greenlets.py': 'tests/unit/test_in_greenlets.py',
    'transports/opening.py': 'tests/unit/test_opening.py',
    'transports/polling.py': 'tests/unit/test_polling.py',
    'transports/redirects.py': 'tests/unit/test_redirects.py',
    'transports/requests_session.py': 'tests/unit/test_requests_session.py',
    'transports/route.py': 'tests/unit/test_route.py',
    'transports/websocket.py': 'tests/unit/test_websocket.py',
    'transports/websocket_options.py': 'tests/unit/test_websocket_options.py',
    'upgrade.py': 'tests/unit/test_connecting.py',
}
#: Per cent of the mutants that are not equivalent.
LEAST_KILLED = 90

COLUMNS = '{:<24}{:>9}{:>8}{:>13}{:>10}{:>10}{:>12}{:>8}'


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='python -m tests.mutants',
        description='Change one small thing at a time, and see whether the tests fail.',
        epilog=f'What may survive stands in {FILE.relative_to(ROOT)}, with the reason.',
    )
    parser.add_argument('files', nargs='*', metavar='file', help=f'of {", ".join(FILES)}')
    parser.add_argument(
        '--jobs', type=int, default=os.cpu_count(), help='mutants at a time (%(default)s)'
    )
    options = parser.parse_args()
    if unknown := set(options.files) - set(FILES):
        parser.error(f'no such file: {", ".join(sorted(unknown))}; there are {", ".join(FILES)}')
    listed = read_listed()
    if unknown := {entry.file for entry in listed} - set(FILES):
        parser.error(f'{FILE.name} lists mutants of {", ".join(sorted(unknown))}')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing is left behind
    rows, faults = [], []
    for module in options.files or FILES:
        row, found = check(module, [one for one in listed if one.file == module], options.jobs)
        rows.append(row)
        faults += found
    print()
    print(
        COLUMNS.format(
            'file',
            'mutants',
            'killed',
            '(by timeout)',
            'survived',
            'accepted',
            'equivalent',
            'score',
        )
    )
    for row in rows:
        print(COLUMNS.format(*row))
    print()
    print('\n'.join(faults) or 'Every survivor is listed.')
    return 1 if faults else 0


def check(module: str, listed: list[Listed], jobs: int) -> tuple[tuple[object, ...], list[str]]:
    """Test every mutant of one module; return its row of the table, and what is wrong."""
    tests = FILES[module].split()
    no_row = (module, *['-'] * 7)
    if missing := [name for name in tests if not (ROOT / name).exists()]:
        return no_row, [f'{module}: its test file is missing: {" ".join(missing)}']
    counts = Counter[str]()
    with tempfile.TemporaryDirectory(prefix='mutants-') as directory:
        runner = Runner(module, tests, Path(directory), jobs)
        if (output := runner.measure()) is not None:
            return no_row, [f'{module}: {FILES[module]} fails without a mutant:\n{output}']
        mutants = mutants_of((ROOT / PACKAGE / module).read_text())
        for mutant, outcome in runner.run(mutants):
            entry = next((entry for entry in listed if entry.covers(mutant)), None)
            counts['mutants'] += 1
            counts['killed'] += outcome.killed
            counts['timeout'] += outcome.timed_out
            if outcome.killed and entry is not None:
                entry.killed.add(mutant.now)
            elif not outcome.killed and entry is not None:
                counts[entry.kind] += 1
                entry.survived.add(mutant.now)
            elif not outcome.killed:
                counts['survived'] += 1
                print(
                    f'{PACKAGE}/{module}:{mutant.line}: this survived\nin = {mutant.scope!r}\n'
                    f'was = {mutant.was!r}\nnow = {mutant.now!r}',
                    flush=True,
                )
            if counts['mutants'] % 20 == 0:
                print(
                    f'{module}: {counts["mutants"]} tested, {counts["killed"]} killed', flush=True
                )
    faults = [fault for entry in listed for fault in entry.faults()]
    if counts['survived']:
        faults.append(f'{module}: {counts["survived"]} survived that are not in {FILE.name}')
    rest = counts['mutants'] - counts['equivalent']
    percentage = 100 * counts['killed'] / rest if rest else 100
    if percentage < LEAST_KILLED:
        faults.append(f'{module}: {percentage:.1f}% were killed, fewer than {LEAST_KILLED}%')
    row = (
        module,
        counts['mutants'],
        counts['killed'],
        counts['timeout'],
        counts['survived'],
        counts['accepted'],
        counts['equivalent'],
        f'{percentage:.1f}%',
    )
    return row, faults


if __name__ == '__main__':
    sys.exit(main())
