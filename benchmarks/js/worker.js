/*
 * The worker of engine.io-client: the verbs of workers/greenlets.py in Node.
 *
 *     node --expose-gc worker.js JOB      JOB is the JSON of job.py; prints one line of figures
 */
'use strict';

const fs = require('fs');
const { Socket } = require('engine.io-client');

const WARM_UP = 10;
const REST = 0.1;
const SETTLE = 0.5;
// Seconds of the same work before the measured part, so that Node has compiled the code.
const WARM_WORK = 0.5;
const TRANSPORTS = {
  websocket: ['websocket'], polling: ['polling'], upgrade: ['polling', 'websocket'],
};

const job = JSON.parse(process.argv[2]);
const sleep = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
const now = () => Number(process.hrtime.bigint()) / 1e9;
let connected = 0;
let disconnected = 0;

function cpu() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function check(found, wanted, what) {
  if (found !== wanted) throw new Error(`${what}: ${found} instead of ${wanted}`);
}

function uniqueSetSize() {
  global.gc();
  global.gc();
  return 1024 * fs.readFileSync('/proc/self/smaps_rollup', 'ascii').split('\n')
    .filter((line) => line.startsWith('Private_'))
    .reduce((sum, line) => sum + Number(line.split(/\s+/)[1]), 0);
}

const descriptors = () => fs.readdirSync('/proc/self/fd').length;

// The kinds of messages: how each is made, and how its echo is compared.

const dict = { id: 7, type: 'position', x: 12.5, y: -3, tags: ['a', 'b'] };
const text = 'x'.repeat(job.size);
const bytes = Buffer.alloc(job.size, 'x');
const kinds = {
  text: { make: () => text, same: (data) => data === text },
  binary: { make: () => bytes, same: (data) => bytes.equals(data) },
  json: { make: () => JSON.stringify(dict), same: (data) => JSON.parse(data).id === dict.id },
};
const { make, same } = kinds[job.kind];

// Clients

function on(client, handler) {
  client.off('message');
  client.on('message', handler);
}

function openOne(url) {
  return new Promise((resolve, reject) => {
    const client = new Socket(url, { transports: TRANSPORTS[job.transport] });
    client.on('open', () => {
      connected += 1;
      if (job.transport !== 'upgrade') resolve(client);
    });
    client.on('upgrade', () => resolve(client));
    client.on('upgradeError', reject);
    client.on('error', reject);
    client.on('close', () => { disconnected += 1; });
  });
}

async function open(number) {
  const before = connected;
  const clients = [];
  for (let i = 0; i < number; i++) {
    clients.push(await openOne(job.urls[i % job.urls.length]));
    check(clients[i].transport.name, job.transport === 'polling' ? 'polling' : 'websocket',
      'transport');
  }
  check(connected - before, number, 'connect handlers');
  return clients;
}

async function close(clients) {
  const before = disconnected;
  for (const client of clients) {
    const closed = new Promise((resolve) => { client.once('close', resolve); });
    client.close();
    await closed;
  }
  await sleep(REST);
  check(disconnected - before, clients.length, 'disconnect handlers');
}

// Parts of verbs

async function warm(part) {
  const end = now() + WARM_WORK;
  do await part(); while (now() < end);
}

function echoes(clients, rounds) {
  return new Promise((resolve) => {
    const total = rounds * clients.length;
    let received = 0;
    const start = cpu();
    for (const client of clients) {
      let left = rounds;
      on(client, (data) => {
        check(same(data), true, 'echo');
        received += 1;
        left -= 1;
        if (left) client.send(make());
        else if (received === total) resolve((cpu() - start) / total);
      });
    }
    for (const client of clients) client.send(make());
  });
}

async function timed(clients, messages) {
  const taken = [];
  const times = clients.map(() => []);
  let finish;
  const done = new Promise((resolve) => { finish = resolve; });
  const send = (index) => {
    const which = index % clients.length;
    times[which].push(now());
    clients[which].send(make());
  };
  clients.forEach((client, which) => {
    on(client, () => {
      taken.push(now() - times[which].shift());
      if (taken.length === messages) finish();
      else if (!job.rate) send(taken.length);
    });
  });
  const start = now();
  for (let i = 0; i < (job.rate ? messages : 1); i++) {
    const pause = job.rate ? start + i / job.rate - now() : 0;
    if (pause > 0) await sleep(pause);
    send(i);
  }
  await done;
  return taken;
}

function flood(client, messages) {
  return new Promise((resolve) => {
    let left = messages;
    const start = cpu();
    const take = (data) => {
      check(data.length, job.size, 'size');
      left -= 1;
      if (!left) resolve((cpu() - start) / messages);
    };
    on(client, job.sleep ? async (data) => { await sleep(job.sleep); take(data); } : take);
    client.send(`!flood ${messages} ${job.size} ${job.batch}`);
  });
}

function ask(client, question) {
  return new Promise((resolve) => {
    on(client, resolve);
    client.send(question);
  });
}

async function pour(client, messages) {
  const answer = ask(client, `!expect ${messages}`);
  const start = cpu();
  for (let i = 0; i < messages; i++) client.send(make());
  check(await answer, '!done', 'answer');
  return (cpu() - start) / messages;
}

const verbs = {
  async connect() {
    const number = job.clients;
    await warm(async () => close(await open(WARM_UP)));
    const start = cpu();
    const clients = await open(number);
    await sleep(REST);
    const opened = cpu();
    await close(clients);
    return { connect: (opened - start) / number, disconnect: (cpu() - opened) / number };
  },

  async crowd() {
    const number = job.clients;
    const first = await open(WARM_UP);
    await echoes(first, 1);
    await sleep(SETTLE);
    const memory = uniqueSetSize();
    const files = descriptors();
    const start = cpu();
    const clients = await open(number);
    const connecting = cpu() - start;
    await sleep(SETTLE);
    const figures = {
      memory: (uniqueSetSize() - memory) / number,
      descriptors: (descriptors() - files) / number,
      connect: connecting / number,
    };
    await warm(() => echoes(clients, 1));
    figures.echo = await echoes(clients, job.messages);
    check(first.length, WARM_UP, 'first clients');
    return figures;
  },

  async echo() {
    const clients = await open(job.clients);
    await warm(() => echoes(clients, Math.max(1, Math.floor(job.messages / 5))));
    return { echo: await echoes(clients, job.messages) };
  },

  async latency() {
    const clients = await open(job.clients);
    await warm(() => timed(clients, clients.length));
    const taken = (await timed(clients, job.messages)).sort((a, b) => a - b);
    const at = (percent) => taken[Math.floor((taken.length * percent) / 100)];
    return { p50: at(50), p99: at(99) };
  },

  async receive() {
    const [client] = await open(1);
    await warm(() => flood(client, Math.floor(job.messages / 10)));
    return { receive: await flood(client, job.messages) };
  },

  async send() {
    const [client] = await open(1);
    await warm(() => pour(client, Math.floor(job.messages / 10)));
    return { send: await pour(client, job.messages) };
  },

  async heartbeat() {
    const clients = await open(job.clients);
    await sleep(job.ping_interval);
    const before = Number(await ask(clients[0], '!pongs'));
    const start = cpu();
    await sleep(job.seconds);
    const spent = cpu() - start;
    const pongs = Number(await ask(clients[0], '!pongs')) - before;
    const share = pongs / ((job.clients * job.seconds) / job.ping_interval);
    check(share > 0.7 && share < 1.3, true, `plausible number of pongs, ${pongs}`);
    return { heartbeat: spent / pongs };
  },
};

verbs[job.verb]().then((figures) => {
  process.stdout.write(`${JSON.stringify(figures)}\n`, () => process.exit(0));
}).catch((error) => {
  console.error(error);
  process.exit(1);
});
