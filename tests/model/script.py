"""What a round does: drawn from its seed before it begins, so that the same seed draws the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from .owned import CALLS, ENDS

#: The transports of a connect(). 'either' prefers the websocket, and has polling as its second.
WAYS = ('polling', 'websocket', 'upgraded', 'either')

#: The HTTP client of polling: this package's own, a session, or a function that makes sessions.
SESSIONS = ('', 'session', 'function')

#: Weights of the steps, by theme. Each round has one theme.
THEMES: dict[str, dict[str, float]] = {
    'mixed': {},
    'handlers': {'plan': 8, 'act': 4, 'kill': 4, 'connect': 6},
    'kills': {'kill': 8, 'connect': 8, 'plan': 2},
    'words': {'words': 8, 'plan': 2},
    'loss': {'act': 8, 'connect': 6, 'send': 4},
    'greeting': {'greeting': 4, 'plan': 1},
    'last words': {'last_words': 4, 'plan': 1},
    'senders': {'send': 10, 'act': 3},
    'process': {'server': 5, 'connect': 6, 'send': 4},
    'forks': {'fork': 2, 'act': 4, 'connect': 6, 'send': 4},
    'threads': {'owned': 3, 'rest': 2},
    'heartbeat': {'silence': 3, 'connect': 4, 'rest': 0.5},
}
BASIC: dict[str, float] = {
    'connect': 4,
    'send': 3,
    'disconnect': 3,
    'wait': 1,
    'kill': 2,
    'kill_handler': 0.7,
    'plan': 2,
    'act': 2,
    'words': 1,
    'rest': 0.7,
}

#: What a handler may do, one after the other.
OPERATIONS = {
    'connect': [
        'gate',
        'gate',
        'gate 5',
        'turn',
        'sleep 5',
        'raise',
        'exit',
        'disconnect',
        'abort',
        'send',
        'connect',
    ],
    'message': [
        'gate',
        'gate 5',
        'turn',
        'raise',
        'exit',
        'disconnect',
        'abort',
        'send',
        'connect',
    ],
    'disconnect': [
        'gate',
        'gate 5',
        'turn',
        'raise',
        'exit',
        'disconnect',
        'wait',
        'connect',
        'connect',
        'send',
    ],
}


#: The steps that concern no client, or all.
OF_NO_CLIENT = ('server', 'rest', 'kill', 'owned', 'foreign', 'fork')


@dataclass(frozen=True)
class Step:
    """One step of a round.

    :param do: its rule.
    :param client: the number of its client.
    :param name: the name of its call, such as 't3'.
    :param args: what the rule wants to know.
    :param pace: what passes before the next step: 'go', 'turn', '5 ms', 'done'.
    """

    do: str
    client: int = 0
    name: str = ''
    args: dict[str, Any] = field(default_factory=dict)
    pace: str = 'go'

    def __str__(self) -> str:
        args = ', '.join(f'{key}={value!r}' for key, value in self.args.items())
        who = '' if self.do in OF_NO_CLIENT else f'{"abc"[self.client]}.'
        name = f'{self.name} = ' if self.name else ''
        return f'{f"{name}{who}{self.do}({args})":70} # {self.pace}'


EVENTS = ('connect', 'message', 'disconnect')


@dataclass(frozen=True)
class Setup:
    """What a round begins with."""

    kind: str  # 'js' or 'python'
    flavour: str  # 'calm', 'brisk' (short pings), 'private' (its process may be killed)
    clients: int
    loggers: bool  # log handlers that let others run
    write_limit: int
    theme: str
    missing: tuple[str, ...] = ()  # the events without a handler
    session: str = ''  # one of SESSIONS
    try_all: bool = False  # try_all_transports
    remember: bool = False  # remember_upgrade


@dataclass(frozen=True)
class Script:
    """All that a round does."""

    seed: int
    setup: Setup
    steps: list[Step]

    def __str__(self) -> str:
        lines = '\n'.join(f'  {step}'.rstrip() for step in self.steps)
        return f'seed {self.seed}: {self.setup}\n{lines}'


def draw(seed: int) -> Script:
    """The script of a seed."""
    return _Drawing(seed).script()


class _Drawing:
    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        theme = random.choice(list(THEMES))
        flavour = {'process': 'private', 'heartbeat': 'brisk'}.get(theme, 'calm')
        self.seed = seed
        self.setup = Setup(
            kind=random.choice(['js', 'python']),
            flavour=flavour,
            clients=random.choice([1, 1, 1, 2]),
            loggers=random.random() < 0.3,
            write_limit=random.choice([20_000, 1 << 20]),
            theme=theme,
            missing=tuple(event for event in EVENTS if random.random() < 0.08),
            session=random.choice([*SESSIONS, '', '', '', '']),
            try_all=random.random() < 0.2,
            remember=random.random() < 0.2,
        )
        self.names: list[str] = []
        self.weights = {**BASIC, **THEMES[theme]}

    def script(self) -> Script:
        random = self.random
        steps: list[Step] = []
        for client in range(self.setup.clients):
            for _ in range(random.choice([0, 0, 1, 2])):
                steps.append(self._plan(client))
            steps.append(self._words(client) if random.random() < 0.1 else self._connect(client))
        rules = list(self.weights)
        for _ in range(random.randint(3, 22)):
            rule = random.choices(rules, list(self.weights.values()))[0]
            client = random.randrange(self.setup.clients)
            step = getattr(self, f'_{rule}')(client)
            steps += step if isinstance(step, list) else [step]
        return Script(self.seed, self.setup, steps)

    def _pace(self, *often: str) -> str:
        return self.random.choice(
            [*often, 'go', 'turn', 'turn', '1 ms', '3 ms', '8 ms', '20 ms', 'done', 'done']
        )

    def _name(self) -> str:
        self.names.append(f't{len(self.names) + 1}')
        return self.names[-1]

    def _call(self, do: str, client: int, *often: str, **args: Any) -> Step:
        if 'thread' not in args and self.random.random() < 0.12:
            args['limit'] = self.random.choice([0, 0.001, 0.003, 0.01, 0.03])
            if self.random.random() < 0.5:
                args['own_error'] = True
        return Step(do, client, self._name(), args, self._pace(*often))

    def _connect(self, client: int) -> Step:
        args: dict[str, Any] = {'way': self.random.choice(WAYS)}
        if self.random.random() < 0.2:
            args['greet'] = self.random.choice([1, 3])
        return self._call('connect', client, 'done', 'done', 'done', **args)

    def _words(self, client: int) -> Step:
        """A connection that the server closes at once."""
        return self._call(
            'words',
            client,
            'done',
            'done',
            way=self.random.choice(WAYS),
            greet=self.random.choice([0, 1, 3]),
            close=1,
        )

    def _send(self, client: int) -> Step:
        random = self.random
        args: dict[str, Any] = {
            'kind': random.choice(['text', 'text', 'binary', 'json']),
            # With loggers, each message takes a turn of the loop.
            'count': random.choice([1, 1, 3, 30, 10 if self.setup.loggers else 100]),
            'size': random.choice([0, 0, 1000]),
        }
        if random.random() < 0.15:
            args['size'], args['count'] = 200_000, random.choice([1, 5])
        if random.random() < 0.15:
            args['thread'] = True
        return self._call('send', client, **args)

    def _disconnect(self, client: int) -> Step:
        random = self.random
        args: dict[str, Any] = {}
        if random.random() < 0.3:
            args['abort'] = True
        if random.random() < 0.2:
            args['reason'] = 'enough'
        if random.random() < 0.2:
            args['thread'] = True
        return self._call('disconnect', client, **args)

    def _wait(self, client: int) -> Step:
        args = {'thread': True} if self.random.random() < 0.2 else {}
        return self._call('wait', client, 'go', 'turn', **args)

    def _kill(self, client: int) -> Step:
        """End one of the last calls, if it still runs."""
        which = self.random.choice(self.names[-3:])
        return Step('kill', client, args={'which': which}, pace=self._pace())

    def _kill_handler(self, client: int) -> Step:
        return Step('kill_handler', client, pace=self._pace())

    def _last_words(self, client: int) -> list[Step]:
        """A connection that the server closes while the client sends."""
        random = self.random
        count, size = random.choice([(5, 200_000), (30, 1000), (3, 0)])
        args = {'kind': 'text', 'count': count, 'size': size}
        last = {'what': 'send', 'count': random.choice([1, 5]), 'size': 0, 'then': 'close'}
        return [
            replace(self._connect(client), pace='done'),
            self._call('send', client, **args),
            Step('act', client, args=last, pace=self._pace('20 ms')),
        ]

    def _greeting(self, client: int) -> list[Step]:
        """A connection that ends while its connect handler runs."""
        random = self.random
        handler = ['gate 30', random.choice(['raise', 'exit', 'turn', 'disconnect'])]
        handler = (
            handler[random.random() < 0.3 :] if random.random() < 0.5 else ['sleep 30', handler[1]]
        )
        steps = [Step('plan', client, args={'event': 'connect', 'operations': handler})]
        if random.random() < 0.6:
            again = [f'connect {random.choice(WAYS)}']
            steps.append(Step('plan', client, args={'event': 'disconnect', 'operations': again}))
        steps.append(replace(self._connect(client), pace=random.choice(['8 ms', '20 ms', '30 ms'])))
        end = random.choice([self._act, self._act, self._act, self._disconnect, self._kill])
        steps.append(end(client))
        return steps

    def _plan(self, client: int) -> Step:
        """What a handler does the next time."""
        random = self.random
        event = random.choice(['connect', 'disconnect', 'disconnect', 'message'])
        operations = [
            random.choice(OPERATIONS[event]) for _ in range(random.choice([1, 1, 2, 2, 3]))
        ]
        operations = [
            f'connect {random.choice(WAYS)}' if one == 'connect' else one for one in operations
        ]
        return Step('plan', client, args={'event': event, 'operations': operations})

    def _act(self, client: int) -> Step:
        """Something that the server does to this client's connections."""
        random = self.random
        args: dict[str, Any] = {'what': random.choice(['drop', 'close', 'send', 'send'])}
        if args['what'] == 'send':
            args['count'] = random.choice([1, 5, 50])
            args['size'] = random.choice([0, 0, 1000, 50_000 if args['count'] < 50 else 0])
            if random.random() < 0.3:
                args['then'] = random.choice(['drop', 'close'])
        return Step('act', client, args=args, pace=self._pace('20 ms'))

    def _silence(self, client: int) -> Step:
        pace = self.random.choice(['500 ms', '1700 ms', '2200 ms', '5 ms'])
        return Step('act', client, args={'what': 'silence'}, pace=pace)

    def _server(self, client: int) -> Step:
        """Something that happens to the server's process."""
        what = self.random.choice(['kill', 'start', 'restart', 'suspend', 'resume'])
        return Step('server', client, args={'what': what}, pace=self._pace('20 ms'))

    def _owned(self, client: int) -> list[Step]:
        """A connection of another native thread, and what others do with it."""
        random = self.random
        args = {
            'way': random.choice(WAYS[:3]),
            'stay': random.choice([0, 3, 20, 50]),
            'handler': random.random() < 0.3,
            'end': random.choice(ENDS),
        }
        steps = [Step('owned', client, args=args, pace=random.choice(['turn', '8 ms', '30 ms']))]
        for _ in range(random.randint(0, 6)):
            call = {'what': random.choice(CALLS), 'thread': random.random() < 0.6}
            steps.append(Step('foreign', client, args=call, pace=self._pace()))
        return steps

    def _fork(self, client: int) -> Step:
        return Step('fork', client, pace=self._pace())

    def _rest(self, client: int) -> Step:
        return Step('rest', client)
