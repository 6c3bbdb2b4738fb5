/*
 * A server for load tests that counts what it does, for a comparison with Locust's report.
 *
 *     node counting_server.js '{"counts": "/some/file"}'
 *
 * It listens on a free port, prints one line of JSON, {"port": N, "control": N}, and runs until its
 * standard input closes. Then it closes all connections in order: what it has sent arrives.
 *
 * Options:
 *
 *     counts     the file for the counts; the next process goes on in it
 *     port       port to listen on (a free one)
 *     farewell   at its end, it disconnects each namespace before it closes the connections, so many
 *                milliseconds after the other
 *
 * Each count is a line that is appended at once, so that SIGKILL loses none. A line is JSON, [type,
 * name], in the words of Locust's report:
 *
 *     open           an Engine.IO connection; the name is its path
 *     upgrade        it has been upgraded to a websocket
 *     leave          the client has closed it; not those that this server closes
 *     timeout        it has no heartbeats any more
 *     connect        a Socket.IO client has connected to a namespace, which is the name
 *     refuse         one was not let in; the name is the namespace or the path
 *     emit           an event that is not acknowledged
 *     call           an event that was acknowledged
 *     send           an Engine.IO message without an answer
 *     request        an Engine.IO message, or an event, that was answered by another
 *     refusal        the same, where the answer is a refusal
 *     recv           an event or a message sent to one client, which it has not asked for
 *     GET, POST      an HTTP request that was answered
 *
 * The name of an event is "event" in the namespace "/", and "/members event" in others.
 *
 * HTTP: POST /login with the JSON {"password": "lovelace"} answers {"token": "open sesame"}, and
 * sets the cookie "session=open". GET /items answers a list. GET /control/clients answers
 * {"count": N}, and is not counted.
 *
 * Engine.IO: /engine.io/, and /members/engine.io/ for those with the cookie.
 * Socket.IO: /socket.io/ with the namespaces "/", and "/members" for those with the cookie or the
 * token.
 *
 * Events of a client, with an acknowledgement where it is wanted:
 *
 *     join ROOM       from now on it receives what is said in this room
 *     subscribe MS    from now on it receives "metrics" every MS milliseconds
 *     leave           nothing more after the acknowledgement
 *     say TEXT        "said" to everybody in the room
 *     ready           "turn" with binary data, before the acknowledgement
 *     play BYTES      "state:N" to everybody in the room, with binary data; is acknowledged with
 *                     the same bytes in reverse order
 *     query {id}      is answered by the event "result", with the same id
 *     anything else   is acknowledged
 *
 * Messages of an Engine.IO client are JSON, {"do": .., "id": ..}. One with an id is answered by
 * {"re": the id, "do": .., "ok": true}. What is sent unasked is {"news": ..}. The values of "do":
 *
 *     watch           from now on it receives "price" after each bid
 *     unwatch         nothing more after the answer
 *     bid             each third is refused: "ok" is false
 *     ready           "turn", before the answer
 *     whoami          "welcome", behind the answer
 *     anything else   is answered
 *
 * A binary message is the request "move", and is answered by the same bytes in reverse order.
 */
'use strict';

const fs = require('fs');
const http = require('http');
const { createRequire } = require('module');

const engineio = createRequire(`${__dirname}/../../servers/js/`)('engine.io');
const { Server } = createRequire(`${__dirname}/../socketio/js/`)('socket.io');

const options = JSON.parse(process.argv[2]);
const file = fs.openSync(options.counts, 'a');
const connections = new Set();
const watchers = new Set();
const MEMBER = 'session=open';
const TOKEN = 'open sesame';
let ending = false;
let bids = 0;
let states = 0;

function count(type, name) { fs.writeSync(file, `${JSON.stringify([type, name])}\n`); }

function reversed(bytes) { return Buffer.from(bytes).reverse(); }

// HTTP

function answer(request, response, status, value, headers = {}) {
  const path = request.url.split('?')[0];
  if (!path.startsWith('/control/')) count(request.method, path);
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  response.end(JSON.stringify(value));
}

const server = http.createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  switch (`${request.method} ${request.url}`) {
    case 'POST /login':
      if (JSON.parse(body).password === 'lovelace') {
        answer(request, response, 200, { token: TOKEN }, { 'Set-Cookie': `${MEMBER}; Path=/` });
      } else answer(request, response, 403, null);
      break;
    case 'GET /items':
      answer(request, response, 200, ['a lamp', 'a chair']);
      break;
    case 'GET /control/clients':
      answer(request, response, 200, { count: connections.size });
      break;
    default:
      answer(request, response, 404, null);
  }
});

// Connections

function keep(path, socket) {
  count('open', path);
  connections.add(socket);
  socket.on('upgrade', () => count('upgrade', path));
  socket.on('close', (reason) => {
    connections.delete(socket);
    watchers.delete(socket);
    if (!ending) count(reason === 'ping timeout' ? 'timeout' : 'leave', path);
  });
}

// Socket.IO

const io = new Server(server, { destroyUpgrade: false });
io.engine.on('connection', (socket) => keep('/socket.io/', socket));

function nameOf(socket, event) {
  const name = event.split(':')[0];
  return socket.nsp.name === '/' ? name : `${socket.nsp.name} ${name}`;
}

function push(socket, event, ...args) {
  if (socket.conn.readyState !== 'open') return;
  count('recv', nameOf(socket, event));
  socket.emit(event, ...args);
}

function pushAround(socket, event, ...args) {
  for (const other of socket.nsp.sockets.values()) {
    if (other.data.room !== undefined && other.data.room === socket.data.room) {
      push(other, event, ...args);
    }
  }
}

const events = {
  join(socket, room) { socket.data.room = room; },
  subscribe(socket, interval) {
    clearInterval(socket.data.timer);
    socket.data.timer = setInterval(() => push(socket, 'metrics', { load: 1 }), interval);
  },
  leave(socket) {
    delete socket.data.room;
    clearInterval(socket.data.timer);
  },
  say(socket, text) { pushAround(socket, 'said', text); },
  ready(socket) { push(socket, 'turn', Buffer.from([1, 2, 3])); },
  play(socket, bytes) {
    states += 1;
    pushAround(socket, `state:${states}`, bytes);
    return reversed(bytes);
  },
};

function welcome(socket) {
  count('connect', socket.nsp.name);
  socket.on('disconnect', () => clearInterval(socket.data.timer));
  socket.onAny((event, ...args) => {
    const acknowledge = typeof args[args.length - 1] === 'function' ? args.pop() : null;
    const name = nameOf(socket, event);
    if (event === 'query') {
      count('request', name);
      socket.emit('result', { id: args[0].id });
      return;
    }
    const result = events[event] ? events[event](socket, ...args) : true;
    count(acknowledge ? 'call' : 'emit', name);
    if (acknowledge) acknowledge(result);
  });
}

io.on('connection', welcome);
io.of('/members').use((socket, next) => {
  const { auth, headers } = socket.handshake;
  if (auth.token === TOKEN || (headers.cookie || '').includes(MEMBER)) return next();
  count('refuse', '/members');
  return next(new Error('log in first'));
}).on('connection', welcome);

// Engine.IO

function tell(socket, news) {
  if (socket.readyState !== 'open') return;
  count('recv', news);
  socket.send(JSON.stringify({ news }));
}

function reply(socket, { do: what, id }) {
  const ok = what !== 'bid' || bids % 3 !== 0;
  count(ok ? 'request' : 'refusal', what);
  socket.send(JSON.stringify({ re: id, do: what, ok }));
}

const messages = {
  watch(socket) { watchers.add(socket); },
  unwatch(socket) { watchers.delete(socket); },
  bid() {
    bids += 1;
    for (const watcher of watchers) tell(watcher, 'price');
  },
  ready(socket) { tell(socket, 'turn'); },
};

function hear(socket, data) {
  if (typeof data !== 'string') {
    count('request', 'move');
    socket.send(reversed(data));
    return;
  }
  const message = JSON.parse(data);
  if (messages[message.do]) messages[message.do](socket);
  if (message.id === undefined) count('send', message.do);
  else reply(socket, message);
  if (message.do === 'whoami') tell(socket, 'welcome');
}

function serve(path, allowRequest) {
  const engine = new engineio.Server({ allowRequest });
  engine.attach(server, { path, destroyUpgrade: false });
  engine.on('connection', (socket) => {
    keep(path, socket);
    socket.on('message', (data) => hear(socket, data));
  });
}

serve('/engine.io/');
serve('/members/engine.io/', (request, allow) => {
  const allowed = (request.headers.cookie || '').includes(MEMBER);
  if (!allowed) count('refuse', '/members/engine.io/');
  allow(allowed ? null : 'log in first', allowed);
});

// The process

server.listen({ port: options.port || 0, host: '127.0.0.1', backlog: 1024 }, () => {
  const { port } = server.address();
  console.log(JSON.stringify({ port, control: port }));
});

async function end() {
  if (ending) return;
  ending = true;
  server.close(() => process.exit(0));
  setTimeout(() => process.exit(0), 3000); // those that do not answer
  if (options.farewell !== undefined) {
    io.disconnectSockets();
    if (options.farewell) await new Promise((resolve) => { setTimeout(resolve, options.farewell); });
    io.of('/members').disconnectSockets();
  }
  for (const socket of [...connections]) socket.close();
}

for (const event of ['end', 'close', 'error']) process.stdin.on(event, end);
process.stdin.resume();
