/*
 * The JavaScript Engine.IO or Socket.IO server for the benchmarks.
 *
 *     node server.js '{"host": "127.0.0.1", "pingInterval": 25000, "protocol": "engineio",
 *                    "tls": {"key": .., "cert": ..}}'
 *
 * It listens on a free port, prints {"port": N}, and runs until its standard input closes. With
 * Socket.IO it uses the default namespace, and a message is the event "message".
 *
 * It echoes all messages, except for text that begins with "!":
 *
 *     !flood N SIZE BATCH   send N messages of SIZE characters, BATCH per turn of the event loop
 *     !expect N             count the next N messages without an echo; send "!done" after the last
 *     !pongs                send the number of PONG packets that this server has received
 */
'use strict';

const fs = require('fs');
const http = require('http');
const https = require('https');
const engineio = require('engine.io');
const socketio = require('socket.io');

const options = JSON.parse(process.argv[2] || '{}');
const settings = {
  perMessageDeflate: false,
  maxHttpBufferSize: 1e8,
  pingInterval: options.pingInterval || 25000,
  pingTimeout: 60000, // a process that connects ten thousand clients answers late
};
let pongs = 0;

function flood(socket, left, text, batch) {
  const now = Math.min(left, batch);
  for (let i = 0; i < now; i++) socket.send(text);
  if (left > now) setImmediate(flood, socket, left - now, text, batch);
}

function obey(socket, command) {
  const [name, ...rest] = command.split(' ');
  const [count, size, batch] = rest.map(Number);
  if (name === '!flood') flood(socket, count, 'x'.repeat(size), batch);
  else if (name === '!expect') socket.expected = count;
  else if (name === '!pongs') socket.send(String(pongs));
}

function countPongs(connection) {
  connection.on('heartbeat', () => { pongs += 1; });
}

function attend(socket) {
  socket.expected = 0;
  socket.on('message', (message) => {
    if (socket.expected) {
      socket.expected -= 1;
      if (!socket.expected) socket.send('!done');
    } else if (typeof message === 'string' && message.startsWith('!')) {
      obey(socket, message);
    } else {
      socket.send(message);
    }
  });
}

const server = options.tls
  ? https.createServer({
    key: fs.readFileSync(options.tls.key),
    cert: fs.readFileSync(options.tls.cert),
  })
  : http.createServer();
if (options.protocol === 'socketio') {
  const io = new socketio.Server(server, settings);
  io.engine.on('connection', countPongs);
  io.on('connection', attend);
} else {
  const engine = engineio.attach(server, settings);
  engine.on('connection', countPongs);
  engine.on('connection', attend);
}
server.listen({ port: 0, host: options.host || '127.0.0.1', backlog: 4096 }, () => {
  console.log(JSON.stringify({ port: server.address().port }));
});

for (const event of ['end', 'close', 'error']) process.stdin.on(event, () => process.exit(0));
process.stdin.resume();
