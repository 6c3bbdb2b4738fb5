/*
 * A configurable Engine.IO server for the tests, one process per configuration.
 *
 *     node server.js ['{"pingInterval": 300, ...}']
 *
 * It listens on a free port, prints one line of JSON, {"port": N, "control": M}, and runs until
 * its standard input closes, so that it cannot outlive the test that started it.
 *
 * Options, all optional:
 *
 *     transports, allowUpgrades, pingInterval, pingTimeout (ms), upgradeTimeout (ms),
 *     maxHttpBufferSize, cookie, httpCompression   as engine.io has them (cookie may also be the
 *                     name alone)
 *     host            address to listen on ("127.0.0.1"; "::1" for IPv6)
 *     port            port to listen on (a free one)
 *     socket          path of a UNIX socket to listen on, instead of host and port
 *     backlog         how many connections may wait until they are accepted (511)
 *     path            ("/engine.io/")
 *     tls             {"key": file, "cert": file, "ca": file, "requestCert": true}
 *     refuse          HTTP status that every handshake is refused with; 403 goes through
 *                     engine.io's own allowRequest, any other has a body of the same form
 *     refuseMessage   the "message" of that body
 *     failIds         true: no session can be made. engine.io refuses then, by websocket after its
 *                     response with status 101
 *
 * What a client's text message does; any other message, text or binary, is echoed:
 *
 *     numbers N    N messages at once, "0" to "N-1"
 *     big N        a text of N characters "x"
 *     bigbin N     a binary message of N bytes, 0 to 255 over and over
 *     close        closes the connection in order
 *     drop         destroys the client's TCP connections: no close packet, no close frame
 *     silence      no more pings to this client, nor does the server time it out
 *     transport    the name of the server's transport for this client
 *     headers      JSON: every request of this client in order, [{method, url, headers, raw, peer}, ..],
 *                  headers by lower-case name, raw as [[name, value], ..] as they were sent, peer the
 *                  IP address that it came from
 *     log          JSON: the messages received before this one; binary as {"b64": ..}
 *
 * With greet=N in the handshake's query, N messages "g0", "g1", .. are sent from the connection
 * event, before the client can have sent anything.
 *
 * With check=1 in the query, messages are not kept and not echoed, but checked: each is
 * "<sender> <number>", and what follows after a further space does not matter; text or binary. The
 * numbers of each sender count from 0. The messages above are obeyed, and two more:
 *
 *     stream MS    from now on the messages "s 0", "s 1", .. every MS milliseconds; MS 0: as often
 *                  as there is time
 *     end          no more of them; "end N" tells how many there were
 *
 * With stream=MS in the query, the stream begins in the connection event.
 *
 * With close=1 in the query, the connection event ends with closing the connection in order, after
 * the messages of greet=N.
 *
 * With tag=NAME in the query, messages are kept by their first 40 characters, not echoed and not
 * obeyed. What the server sends is numbered: each message of greet=N is "s <number> <sid>". The
 * control URLs "tagged" and "do" work on the clients with this tag.
 *
 * Control, by GET over plain HTTP on the port "control" (which is "port" unless there is TLS):
 *
 *     /control/clients            {"count": N, "ids": [sid, ..]}
 *     /control/closed             [[sid, reason], ..] of the closed clients
 *     /control/received?sid=..    the messages of that client, kept when it has gone
 *     /control/requests?sid=..    its requests, as "headers" gives them; without sid, all
 *     /control/checked?sid=..     {"counts": {sender: N, ..}, "faults": [..]}: how many messages of
 *                                 each sender were in order, and the first that were not
 *     /control/checked            {"messages": N, "faults": [..]} of all clients so far
 *     /control/tagged?tag=..      [{sid, open, reason, transport, tcp, sent, silent, received}, ..] of the
 *                                 clients with this tag, in order of connection; tcp: how many TCP
 *                                 connections they have; sent: how many numbered messages
 *     /control/do?tag=..&what=..  to each open client with this tag, of sid=.. if that is given:
 *                                 close, drop, silence as the messages of this name; send: count=N
 *                                 numbered messages of size=N characters or more, and then=close
 *                                 or then=drop at once after them; forget: ends it without a word.
 *                                 Answers how many clients there were
 */
'use strict';

const fs = require('fs');
const http = require('http');
const https = require('https');
const engineio = require('engine.io');

// The server lives as long as a test session: what it remembers is bounded.
const MAX_CLIENTS_REMEMBERED = 5000;
const MAX_MESSAGES_REMEMBERED = 20000;
const MAX_REQUESTS_REMEMBERED = 1000;
const MAX_FAULTS_REMEMBERED = 20;

const options = JSON.parse(process.argv[2] || '{}');
const path = options.path || '/engine.io/';
const host = options.host || '127.0.0.1';
const refuseMessage = options.refuseMessage || 'Refused by the test server';

const engineOptions = { perMessageDeflate: false };
for (const name of ['transports', 'allowUpgrades', 'pingInterval', 'pingTimeout', 'upgradeTimeout',
  'maxHttpBufferSize', 'cookie', 'httpCompression']) {
  if (options[name] !== undefined) engineOptions[name] = options[name];
}
if (typeof options.cookie === 'string') engineOptions.cookie = { name: options.cookie };
if (options.refuse === 403) {
  engineOptions.allowRequest = (req, answer) => answer(refuseMessage, false);
}

const engine = new engineio.Server(engineOptions);
if (options.failIds) engine.generateId = () => { throw new Error('no id'); };
const records = new Map(); // sid -> {requests, received, sockets}, oldest first
const closed = [];
const allRequests = [];
const allChecked = { messages: 0, faults: [] };

function remember(list, item, limit) {
  list.push(item);
  if (list.length > limit) list.shift();
}

function addRequest(req, sid) {
  const raw = [];
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    raw.push([req.rawHeaders[i], req.rawHeaders[i + 1]]);
  }
  const peer = req.socket.remoteAddress;
  const request = { method: req.method, url: req.url, headers: req.headers, raw, peer };
  remember(allRequests, request, MAX_REQUESTS_REMEMBERED);
  req.described = request;
  const record = sid && records.get(sid);
  if (record) {
    if (record.requests.length < MAX_REQUESTS_REMEMBERED) record.requests.push(request);
    record.sockets.add(req.socket);
  }
}

function jsonable(message) {
  return typeof message === 'string' ? message : { b64: message.toString('base64') };
}

function silence(socket) {
  records.get(socket.id).silent = true;
  clearTimeout(socket.pingIntervalTimer);
  clearTimeout(socket.pingTimeoutTimer);
  socket.pingIntervalTimer = socket.pingTimeoutTimer = null;
}

// Take a message "<sender> <number>" of a client with check=1.
function check(sid, checked, message) {
  const [sender, number] = message.toString().slice(0, 100).split(' ');
  const expected = checked.counts[sender] || 0;
  if (Number(number) === expected && number !== '') {
    checked.counts[sender] = expected + 1;
    allChecked.messages += 1;
    return;
  }
  const fault = `${sid}: ${sender} ${number} instead of ${expected}`;
  for (const { faults } of [checked, allChecked]) {
    if (faults.length < MAX_FAULTS_REMEMBERED) faults.push(fault);
  }
}

// Send "s 0", "s 1", .. until the client says "end", or leaves.
function startStream(socket, record, interval) {
  const send = () => {
    socket.send(`s ${record.streamed}`);
    record.streamed += 1;
  };
  if (interval) {
    const timer = setInterval(send, interval);
    record.stopStream = () => clearInterval(timer);
    return;
  }
  let running = true;
  record.stopStream = () => { running = false; };
  const next = () => {
    if (!running) return;
    send();
    setImmediate(next);
  };
  next();
}

function drop(record) {
  record.sockets.forEach((tcp) => tcp.destroy());
}

function sendNumbered(socket, record, count, size) {
  if (socket.readyState !== 'open') return; // engine.io drops what is sent after close()
  for (let i = 0; i < count; i++) {
    socket.send(`s ${record.sent} ${socket.id} `.padEnd(size, 'x'));
    record.sent += 1;
  }
}

function act(socket, record, query) {
  switch (query.get('what')) {
    case 'close':
      socket.close();
      break;
    case 'drop':
      drop(record);
      break;
    case 'silence':
      silence(socket);
      break;
    case 'send':
      sendNumbered(socket, record, Number(query.get('count') || 1), Number(query.get('size') || 0));
      if (query.get('then') === 'drop') drop(record);
      if (query.get('then') === 'close') socket.close();
      break;
    case 'forget':
      drop(record);
      socket.close(true);
      break;
    default:
      throw new Error(`${query}`);
  }
}

function describeTagged(sid, record) {
  const socket = engine.clients[sid];
  return {
    sid,
    open: Boolean(socket),
    reason: record.reason,
    transport: socket ? socket.transport.name : null,
    tcp: [...record.sockets].filter((tcp) => !tcp.destroyed).length,
    sent: record.sent,
    silent: record.silent,
    received: record.received,
  };
}

function obey(socket, record, message) {
  const counted = /^(numbers|big|bigbin|stream) (\d+)$/.exec(message);
  const number = counted ? Number(counted[2]) : 0;
  switch (counted ? counted[1] : message) {
    case counted && 'numbers':
      for (let i = 0; i < number; i++) socket.send(String(i));
      return true;
    case counted && 'big':
      socket.send('x'.repeat(number));
      return true;
    case counted && 'bigbin':
      socket.send(Buffer.alloc(number, Buffer.from(Array.from({ length: 256 }, (_, i) => i))));
      return true;
    case record.checked && counted && 'stream':
      startStream(socket, record, number);
      return true;
    case record.checked && 'end':
      record.stopStream();
      socket.send(`end ${record.streamed}`);
      return true;
    case 'close':
      setImmediate(() => socket.close()); // now, it would abort the POST that brought the message
      return true;
    case 'drop':
      drop(record);
      return true;
    case 'silence':
      silence(socket);
      return true;
    case 'transport':
      socket.send(socket.transport.name);
      return true;
    case 'headers':
      socket.send(JSON.stringify(record.requests));
      return true;
    case 'log':
      socket.send(JSON.stringify(record.received));
      return true;
    default:
      return false;
  }
}

engine.on('connection', (socket) => {
  const handshake = socket.request;
  const record = {
    requests: [handshake.described],
    received: [],
    sockets: new Set([handshake.socket]),
    checked: handshake._query.check ? { counts: {}, faults: [] } : null,
    streamed: 0,
    stopStream: () => {},
    tag: handshake._query.tag || null,
    reason: null,
    sent: 0,
    silent: false,
  };
  records.set(socket.id, record);
  if (records.size > MAX_CLIENTS_REMEMBERED) records.delete(records.keys().next().value);

  const greet = Number(handshake._query.greet || 0);
  if (record.tag) sendNumbered(socket, record, greet, 0);
  else for (let i = 0; i < greet; i++) socket.send(`g${i}`);
  if (handshake._query.stream) startStream(socket, record, Number(handshake._query.stream));

  socket.on('message', (data) => {
    const message = data === undefined ? '' : data;
    if (record.tag) {
      record.received.push(message.toString().slice(0, 40));
      return;
    }
    const obeyed = typeof message === 'string' && obey(socket, record, message);
    if (record.checked) {
      if (!obeyed) check(socket.id, record.checked, message);
      return;
    }
    if (record.received.length < MAX_MESSAGES_REMEMBERED) record.received.push(jsonable(message));
    if (!obeyed) socket.send(message);
  });
  socket.on('close', (reason) => {
    record.sockets.clear();
    record.stopStream();
    record.reason = reason;
    remember(closed, [socket.id, reason], MAX_CLIENTS_REMEMBERED);
  });
  if (handshake._query.close) socket.close();
});

function tagged(url) {
  return [...records].filter(([, record]) => record.tag === url.searchParams.get('tag'));
}

function control(url) {
  const sid = url.searchParams.get('sid');
  const record = records.get(sid) || { requests: [], received: [] };
  switch (url.pathname) {
    case '/control/clients':
      return { count: engine.clientsCount, ids: Object.keys(engine.clients) };
    case '/control/closed':
      return closed;
    case '/control/received':
      return record.received;
    case '/control/requests':
      return sid ? record.requests : allRequests;
    case '/control/checked':
      return sid ? record.checked : allChecked;
    case '/control/tagged':
      return tagged(url).map(([id, one]) => describeTagged(id, one));
    case '/control/do': {
      const found = tagged(url)
        .filter(([id]) => engine.clients[id] && (!sid || id === sid));
      found.forEach(([id, one]) => act(engine.clients[id], one, url.searchParams));
      return found.length;
    }
    default:
      return undefined;
  }
}

function answerJson(res, status, value) {
  const body = Buffer.from(JSON.stringify(value));
  res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': body.length });
  res.end(body);
}

function onRequest(req, res) {
  const url = new URL(req.url, 'http://server');
  if (url.pathname.startsWith('/control/')) {
    const answer = control(url);
    answerJson(res, answer === undefined ? 404 : 200, answer === undefined ? null : answer);
    return;
  }
  const sid = url.searchParams.get('sid');
  addRequest(req, sid);
  if (!url.pathname.startsWith(path)) {
    answerJson(res, 404, { message: 'Not here' });
  } else if (!sid && options.refuse && options.refuse !== 403) {
    answerJson(res, options.refuse, { code: 4, message: refuseMessage });
  } else {
    engine.handleRequest(req, res);
  }
}

function onUpgrade(req, socket, head) {
  const url = new URL(req.url, 'http://server');
  const sid = url.searchParams.get('sid');
  addRequest(req, sid);
  socket.on('error', () => {});
  let status = 0;
  if (!url.pathname.startsWith(path)) status = 404;
  else if (!sid && options.refuse && options.refuse !== 403) status = options.refuse;
  if (status) {
    const body = JSON.stringify({ code: 4, message: refuseMessage });
    socket.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nConnection: close\r\n`
      + `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`
      + body);
    return;
  }
  engine.handleUpgrade(req, socket, head);
}

function createServer() {
  if (!options.tls) return http.createServer(onRequest);
  const tls = { ...options.tls };
  for (const name of ['key', 'cert', 'ca']) {
    if (tls[name]) tls[name] = fs.readFileSync(tls[name]);
  }
  return https.createServer(tls, onRequest);
}

const server = createServer();
// Without websocket there is no listener, as in engine.io's attach(): the request is then an
// ordinary one, and engine.io answers it with its JSON error.
if (engine.opts.transports.includes('websocket')) server.on('upgrade', onUpgrade);
server.on('clientError', (error, socket) => socket.destroy());

const where = options.socket ? { path: options.socket } : { port: options.port || 0, host };
server.listen({ ...where, backlog: options.backlog || 511 }, () => {
  const { port = null } = server.address();
  const announce = (controlPort) => console.log(JSON.stringify({ port, control: controlPort }));
  if (!options.tls && !options.socket) {
    announce(port);
    return;
  }
  const plain = http.createServer(onRequest);
  plain.listen(0, host, () => announce(plain.address().port));
});

for (const event of ['end', 'close', 'error']) process.stdin.on(event, () => process.exit(0));
process.stdin.resume();
