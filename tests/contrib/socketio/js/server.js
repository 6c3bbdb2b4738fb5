/*
 * A Socket.IO server for the tests, one process per configuration.
 *
 *     node server.js ['{"pingInterval": 300, ...}']
 *
 * It listens on a free port, prints one line of JSON, {"port": N, "control": N}, and runs until its
 * standard input closes.
 *
 * Options, all optional:
 *
 *     port, transports, pingInterval, pingTimeout (ms), maxHttpBufferSize
 *
 * Namespaces: "/", "/chat", and "/private", which lets in who has {"token": "open sesame"} as auth
 * and answers the others with the message "not you" and the data {"code": 7}. With kick=1 in the
 * query, whoever connects to "/" is disconnected at once; with ban=1, after the event "banned" with
 * the argument "you". With hold=1, whoever connects to "/" gets no answer.
 *
 * What a client's event does; an acknowledgement, where the client wants one, has the arguments
 * that are told in brackets:
 *
 *     echo ARGS..        emits "echo" with the same arguments [the arguments]
 *     who                [{sid, auth, transport, query}]
 *     numbers N          emits "number" 0 to N-1
 *     ask ARGS..         emits "question" with these, wants an acknowledgement, and emits "answered"
 *                        with a list of what that had
 *     join ROOM          [true]
 *     leave ROOM         [true]
 *     say ROOM DATA      emits "said" with DATA to the others in the room [true]
 *     never              is not acknowledged
 *     out                disconnects the client from this namespace
 *     kick               closes the client's connection, in order
 *     drop               destroys its TCP connection
 *
 * Control, by GET: /control/clients   {"count": N}: connections
 *                  /control/left      the events "out of <namespace>: <reason>", in order
 *                  /control/errors    connections that were closed for what the client had sent
 *                  /control/received  {event: N, ..}: how many of each event the clients have sent
 */
'use strict';

const http = require('http');
const { Server } = require('socket.io');

const { port = 0, ...options } = JSON.parse(process.argv[2] || '{}');
const left = [];
const errors = [];
const received = {};

const server = http.createServer((request, response) => {
  const answers = {
    '/control/clients': { count: io.engine.clientsCount },
    '/control/left': left,
    '/control/errors': errors,
    '/control/received': received,
  };
  const answer = answers[request.url];
  response.writeHead(answer ? 200 : 404, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(answer || null));
});
const io = new Server(server, options);

const events = {
  echo(socket, args, answer) { socket.emit('echo', ...args); answer(...args); },
  who(socket, args, answer) {
    const { auth, query } = socket.handshake;
    answer({ sid: socket.id, auth, query, transport: socket.conn.transport.name });
  },
  numbers(socket, [count]) { for (let i = 0; i < count; i++) socket.emit('number', i); },
  ask(socket, args) {
    socket.emit('question', ...args, (...answers) => socket.emit('answered', answers));
  },
  join(socket, [room], answer) { socket.join(room); answer(true); },
  leave(socket, [room], answer) { socket.leave(room); answer(true); },
  say(socket, [room, data], answer) { socket.to(room).emit('said', data); answer(true); },
  out(socket) { socket.disconnect(); },
  kick(socket) { socket.disconnect(true); },
  drop(socket) { (socket.conn.transport.socket._socket || socket.conn.request.socket).destroy(); },
};

function welcome(socket) {
  socket.onAny((event, ...args) => {
    received[event] = (received[event] || 0) + 1;
    const answer = typeof args[args.length - 1] === 'function' ? args.pop() : () => {};
    if (events[event]) events[event](socket, args, answer);
  });
  socket.on('disconnect', (reason) => {
    left.push(`out of ${socket.nsp.name}: ${reason}`);
    if (reason === 'parse error') errors.push(socket.id);
  });
  if (socket.nsp.name !== '/') return;
  if (socket.handshake.query.ban) socket.emit('banned', 'you');
  if (socket.handshake.query.kick || socket.handshake.query.ban) socket.disconnect(true);
}

io.use((socket, next) => { if (!socket.handshake.query.hold) next(); });
io.on('connection', welcome);
io.of('/chat').on('connection', welcome);
io.of('/private').use((socket, next) => {
  if (socket.handshake.auth.token === 'open sesame') return next();
  const refusal = new Error('not you');
  refusal.data = { code: 7 };
  return next(refusal);
}).on('connection', welcome);

server.listen({ port, host: '127.0.0.1', backlog: 1024 }, () => {
  const listening = server.address().port;
  console.log(JSON.stringify({ port: listening, control: listening }));
});

for (const event of ['end', 'close', 'error']) process.stdin.on(event, () => process.exit(0));
process.stdin.resume();
