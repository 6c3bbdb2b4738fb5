"""The code of the benchmarks, with counts too small to measure anything."""

from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
    not (ROOT / 'benchmarks').is_dir(), reason='the benchmarks are not part of this tree'
)

TINY = {
    'echo-json': {'clients': 3, 'messages': 2},
    'echo-wss': {'clients': 2, 'messages': 2},
    'echo-polling': {'clients': 3, 'messages': 2},
    'big-binary': {'messages': 1},
    'receive-sleep': {'messages': 20},
    'send': {'messages': 20},
    'connect-upgrade': {'clients': 2},
    'heartbeat': {'clients': 2, 'seconds': 2, 'ping_interval': 0.25},
    'latency-1000': {'clients': 2, 'messages': 10},
    'crowd-100': {'clients': 3, 'messages': 1},
}

TINY_SOCKETIO = {
    'socketio-echo': {'clients': 3, 'messages': 2},
    'socketio-crowd': {'clients': 3, 'messages': 1},
}


@pytest.fixture
def benchmarks(monkeypatch):
    """`benchmarks('runner')` imports the module `benchmarks.runner`."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: import_module(f'benchmarks.{name}')


def tiny(measures, names):
    counts = {**TINY, **TINY_SOCKETIO}
    return [
        replace(
            measures[name],
            job=replace(measures[name].job, **counts[name]),
            hurry={},
            warm_up=0.0,
        )
        for name in names
    ]


def run(benchmarks, system, names):
    """The figures of a system, by measure."""
    systems = benchmarks('systems')
    for missing in (systems.no_javascript(), systems.SYSTEMS[system].missing()):
        if missing:
            pytest.skip(missing)
    results = benchmarks('results').Results(systems=[system])
    measures = tiny(benchmarks('measures').MEASURES, names)
    benchmarks('runner').run(results, measures, [system], 1, lambda _what: None)
    assert results.failures == {}
    for measure in measures:
        for figure in measure.figures:
            if (system, figure.key) != ('javascript', 'tasks'):
                (number,) = results.numbers[measure.name][figure.key][system]
                assert isinstance(number, (int, float))
    return results


@pytest.mark.parametrize('system', ['ours', 'floor'])
def test_every_verb_yields_its_figures(benchmarks, system):
    results = run(benchmarks, system, TINY)
    assert results.numbers['crowd-100']['descriptors'][system] == [1.0]
    assert results.numbers['latency-1000']['p50'][system][0] > 0


@pytest.mark.parametrize('system', ['python-engineio', 'asyncio', 'javascript'])
def test_peers_yield_their_figures(benchmarks, system):
    run(benchmarks, system, ['echo-json', 'connect-upgrade', 'crowd-100'])


@pytest.mark.parametrize('system', ['ours', 'python-engineio'])
def test_socketio_yields_its_figures(benchmarks, system):
    results = run(benchmarks, system, TINY_SOCKETIO)
    assert results.numbers['socketio-crowd']['descriptors'][system] == [1.0]


def test_each_system_is_first_in_one_of_five_rounds(benchmarks):
    in_order, systems = benchmarks('runner').in_order, list(benchmarks('systems').SYSTEMS)
    measures = benchmarks('measures').MEASURES
    rounds = [in_order(measures['echo-ws'], systems, number) for number in range(5)]
    for place in range(5):
        assert sorted(order[place] for order in rounds) == sorted(systems)
    orders = {tuple(in_order(measure, systems, 0)) for measure in measures.values()}
    assert len(orders) > 10
    assert in_order(measures['crowd-18000'], ['javascript'], 0) == []


def test_a_server_is_warmed_up_for_some_time(benchmarks, monkeypatch):
    runner, measure = benchmarks('runner'), benchmarks('measures').MEASURES['latency-1']
    done = []
    monkeypatch.setattr(runner, 'monotonic', lambda: len(done) * 1.25)
    monkeypatch.setattr(runner.servers, 'running', lambda *_: nullcontext(['http://host']))
    monkeypatch.setattr(runner, 'work', lambda *arguments: done.append(arguments) or {})
    results = benchmarks('results').Results()
    runner.run(results, [measure], ['ours'], 2, lambda _what: None)
    assert [name for name, *_ in done] == ['floor'] * 3 + ['ours'] * 2
    done.clear()
    runner.run(results, [measure.hurried()], ['ours'], 2, lambda _what: None)
    assert [name for name, *_ in done] == ['floor', 'ours', 'ours']


def test_a_measure_of_more_clients_than_files_is_left_out(benchmarks, monkeypatch, capsys):
    main = benchmarks('__main__')
    monkeypatch.setattr(main.machine, 'file_limit', lambda: 18_000)
    assert main.choose(['crowd-10000', 'crowd-18000'], quick=False) == [
        benchmarks('measures').MEASURES['crowd-10000']
    ]
    assert 'crowd-18000 (a process may open only 18000 files' in capsys.readouterr().err


def test_socketio_runs_on_the_systems_that_have_it(benchmarks):
    measures = benchmarks('measures').MEASURES
    systems = benchmarks('systems').SYSTEMS
    assert [name for name in systems if measures['socketio-echo'].runs_on(name)] == [
        'ours',
        'python-engineio',
    ]
    assert all(measures['echo-ws'].runs_on(name) for name in systems)


def test_a_worker_that_fails_is_reported(benchmarks):
    results, job = benchmarks('results').Results(systems=['ours']), benchmarks('job').Job
    with pytest.raises(benchmarks('runner').WorkerFailed, match='ConnectionError'):
        benchmarks('runner').work('ours', job('echo', urls=['http://127.0.0.1:1']), {})
    results.fail('echo-ws', 'ours', 'why')
    assert benchmarks('table').text(results).endswith('FAILED echo-ws, ours: why')


@pytest.fixture
def results(benchmarks):
    """Two measures of two systems: half of the peer's CPU time, and three times of it."""
    found = benchmarks('results').Results(systems=['ours', 'python-engineio'])
    for ours in (1e-5, 3e-5, 2e-5):
        found.add('echo-ws', 'ours', {'echo': ours})
        found.add('echo-ws', 'python-engineio', {'echo': 4e-5})
    found.add('send', 'ours', {'send': 1.2e-5})
    found.add('send', 'python-engineio', {'send': 4e-6})
    return found


def test_table_has_medians_spreads_and_multiples(benchmarks, results):
    lines = benchmarks('table').text(results).splitlines()
    assert lines[2].split('  ')[0] == 'message and echo, websocket'
    assert lines[2].split()[-6:] == [
        '20.0',
        'µs',
        '±50%',
        '40.0',
        'µs',
        '(2.0\N{MULTIPLICATION SIGN})',
    ]
    assert lines[3].split()[-5:] == ['12.0', 'µs', '4.00', 'µs', '(0.33\N{MULTIPLICATION SIGN})']


def test_targets_name_what_is_missed(benchmarks, results):
    targets = benchmarks('targets')
    assert targets.missed(results)[1:] == [
        ['message and echo, websocket', 'python-engineio, gevent', '0.50', '0.06'],
        ['send', 'python-engineio, gevent', '3.00', '0.06'],
    ]
    del results.numbers['echo-ws'], results.numbers['send']
    assert targets.missed(results) == []
    results.add('idle-polling', 'ours', {'memory': 5 * 1024, 'tasks': 1})
    assert targets.missed(results)[1:] == [
        ['greenlets or tasks, polling', 'its own limit', '1.00', '0'],
    ]


def test_figures_differ_if_their_rounds_do_not_overlap(benchmarks, results):
    comparison = benchmarks('comparison')
    found = comparison.compare(results, 'python-engineio')
    assert [row.name for row in found.lower] == ['echo-ws.echo']
    assert [row.name for row in found.higher] == ['send.send']
    results.add('echo-ws', 'python-engineio', {'echo': 3e-5})
    assert [row.name for row in comparison.compare(results, 'python-engineio').equal] == [
        'echo-ws.echo'
    ]
    results.numbers['send']['send'] = {'ours': [1.04e-5], 'python-engineio': [1e-5]}
    assert comparison.compare(results, 'python-engineio').higher == []


def test_lowest_leaves_out_what_is_above_a_clearly_higher_figure(benchmarks, results):
    comparison = benchmarks('comparison')
    results.numbers['send']['send'] = {
        'ours': [1e-6, 9e-6],
        'python-engineio': [4e-6],
        'javascript': [2e-6, 3e-6],
    }
    (row,) = (row for row in results.rows() if row.name == 'send.send')
    names = ['ours', 'python-engineio', 'javascript']
    assert comparison.lowest(row, names) == ['javascript']
    assert comparison.lowest(row, names[:2]) == ['python-engineio', 'ours']


def test_page_says_first_who_is_better(benchmarks, results, tmp_path):
    results.add('idle-upgrade', 'ours', {'memory': 4096})
    benchmarks('page').write(results, tmp_path / 'page.md')
    page = (tmp_path / 'page.md').read_text()
    assert 'needs 2.0 times less CPU than python-engineio on gevent for a message' in page
    assert 'better in 1 of 2 figures, [worse in 1](#where-another-client-is-better)' in page
    assert '| send | 12.0 µs | 4.00 µs (python-engineio, gevent) |' in page
    assert '**About 4.0 KiB** in this benchmark' in page
    assert '![Bars for the figures of this section](page/echo.svg)' in page
    assert (tmp_path / 'page' / 'flood.svg').read_text().startswith('<svg ')
    assert '# Targets' in (tmp_path / 'TARGETS.md').read_text()


def test_page_has_what_could_not_be_decided(benchmarks, results):
    results.numbers['send']['send'] = {'ours': [1e-6, 9e-6], 'python-engineio': [2e-6]}
    assert benchmarks('summary').undecided(results) == (
        'For *send*, the median of engineio_gevent (5.00 µs ±80%) is above that of '
        'python-engineio on gevent, but the rounds differ too much to decide.'
    )


def test_page_plots_and_targets_are_those_of_the_stored_results(benchmarks, tmp_path):
    """`python -m benchmarks --results --report` writes them."""
    docs, page = ROOT / 'docs', benchmarks('page')
    results = benchmarks('results').Results.load(docs / 'benchmarks' / 'results.json')
    page.write(results, tmp_path / 'benchmarks.md')
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob('*.*')}
    assert len(made) > 10
    for path, text in made.items():
        stored = ROOT / 'benchmarks' / path if path.name == 'TARGETS.md' else docs / path
        assert stored.read_text() == text, path


def test_results_come_back_from_their_file(benchmarks, results, tmp_path):
    results.save(tmp_path / 'out' / 'results.json')
    assert benchmarks('results').Results.load(tmp_path / 'out' / 'results.json') == results


def test_guard_finds_what_is_clearly_worse(benchmarks, results, tmp_path):
    guard = benchmarks('guard')
    results.systems.append('floor')
    results.add('send', 'floor', {'send': 3e-6})
    guard.write(results, tmp_path / 'baseline.json')
    stored = guard.read(tmp_path / 'baseline.json')
    assert stored == {
        'echo-ws.echo': {'python-engineio': 0.5},
        'send.send': {'python-engineio': 3.0, 'floor': 4.0},
    }
    for numbers in results.numbers['send']['send'].values():
        numbers[:] = [number * 2 for number in numbers]  # a slower machine
    results.numbers['echo-ws']['echo']['ours'] = [1e-5]
    guard.write(results, tmp_path / 'baseline.json')
    assert guard.read(tmp_path / 'baseline.json') == stored  # the higher ratio is kept
    results.numbers['echo-ws']['echo']['ours'] = [2e-5]
    assert guard.worse(results, stored) == {}
    assert guard.worse(
        results,
        {
            'echo-ws.echo': {'python-engineio': 0.34},
            'send.send': {'python-engineio': 1.9, 'floor': 2.6},
        },
    ) == {
        'send.send': {
            'python-engineio': (pytest.approx(3.0), 1.9),
            'floor': (pytest.approx(4.0), 2.6),
        }
    }
    # A change relative to one peer alone is no regression.
    for one in {'python-engineio': 1.9, 'floor': 4.0}, {'python-engineio': 3.0, 'floor': 2.6}:
        assert guard.worse(results, {'send.send': one}) == {}


def test_guard_fails_only_what_is_worse_twice(benchmarks, results, monkeypatch, capsys):
    command = benchmarks('__main__')
    better = replace(results, numbers={'send': results.numbers['send']})
    monkeypatch.setattr(command, 'measure', lambda *_arguments: results)
    slow = {'echo-ws.echo': {'python-engineio': 0.1}}
    assert command._guarded(results, {'echo-ws.echo': {'python-engineio': 0.4}}, True)
    assert not command._guarded(results, slow, True)
    monkeypatch.setattr(command, 'measure', lambda *_arguments: better)
    assert command._guarded(results, slow, True)
    assert (
        'echo-ws.echo: slower in one run only, ratio to python-engineio 0.500, stored 0.100'
        in capsys.readouterr().out
    )


def test_list_names_all(benchmarks, capsys):
    assert benchmarks('__main__').main(['--list']) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in benchmarks('measures').MEASURES)


def test_flame_graph_has_a_box_per_frame(benchmarks):
    sampler = benchmarks('sampler')
    stacks = sampler.Counter({('a.py:f', 'a.py:g'): 3, ('a.py:f',): 1})
    graph = sampler.flame_graph(stacks, 'here & now')
    assert graph.count('<rect') == 2
    assert 'here &amp; now' in graph
    assert 'a.py:g 75.0%' in graph
    assert sampler.folded(stacks) == 'a.py:f 1\na.py:f;a.py:g 3\n'
