"""Match functions and checks are code of the scenario: they may wait, raise or be killed."""


def test_messages_reach_the_right_call_once_and_in_order(program, flaky_server):
    seen = program('matching.py', flaky_server(0).url)
    assert seen.pop('in order') == [['a1', 'a2', 'b1'], ['a3']]
    assert seen.pop('not overtaken') == [['a1', 'a2'], ['b1']]
    assert seen.pop('the call ends') == [[None, 'a1'], ['b1']]
    assert seen.pop('killed') == [[None, 'a1', 'a2'], []]
    assert seen.pop('out of time') == [[None, 'a1'], ['a2']]
    assert seen.pop('raises') == [[None, None, 'a1'], ['a2']]
    assert seen.pop('held') == ['b1', ['a2', 'b2']]
    gone = 'disconnected while waiting: gone'
    assert seen.pop('lost') == [['a1', None], ['None', gone, 'None']]
    assert seen.pop('counted') == ['a1', 'a2', 'a3']
    assert seen.pop('client') == ['a1', 'a2', 'b1', 'c1']
    assert seen.pop('rows') == ['a1', 'a2', 'b1', 'c1', 'd1', 'd2', 'g1']
    assert seen.pop('failures') == [
        'Wordless',
        'check failed: Wordless',
        'no matching message within 2 seconds; match raised Wordless',
    ]
    assert seen.pop('check') == [None, "check failed: ValueError('ambiguous')"]
    assert seen == {}
