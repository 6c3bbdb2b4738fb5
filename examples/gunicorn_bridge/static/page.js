import { Messages } from './messages.js';
import { Sparkline } from './sparkline.js';
import { Stream } from './stream.js';

const root = document.documentElement;
const $ = (id) => document.getElementById(id);

const messages = new Messages({
  scroll: $('scroll'), list: $('messages'), empty: $('empty'), count: $('message-count'), latest: $('latest'),
});
const sparkline = new Sparkline($('sparkline'));
const stream = new Stream('/events', ['hello', 'status', 'latency', 'message']);

let status = { state: 'connecting' };
let clockOffset = 0; // seconds that the worker's clock is ahead of the browser's
let opened = 0;
let unsent = {}; // text and key of the last failed post; sending it again is the same post

const PATIENCE = 10_000; // milliseconds; the server answers a post within 5 seconds
const NAMES = { connected: 'Connected', connecting: 'Connecting', waiting: 'Disconnected' };

stream.addEventListener('open', () => {
  $('reconnects').textContent = opened++;
  setStream('live', 'Live');
});

stream.addEventListener('lost', () => setStream('lost', 'Reconnecting'));

stream.addEventListener('hello', ({ detail: { data } }) => {
  clockOffset = data.now - Date.now() / 1000;
  $('worker').textContent = `process ${data.worker}`;
  sparkline.clear(); // the new worker sends its own measurements
});

stream.addEventListener('status', ({ detail: { data } }) => {
  status = data;
  root.dataset.upstream = status.state;
  set($('upstream-state'), NAMES[status.state]);
  $('connection').textContent = NAMES[status.state];
  $('transport').textContent = status.transport ?? '–';
  showTime();
});

stream.addEventListener('latency', ({ detail: { data } }) => {
  sparkline.add(data.ms);
  showLatency(data.ms);
});

stream.addEventListener('message', ({ detail: { id, data } }) => messages.add(id, data));

function setStream(state, name) {
  root.dataset.stream = state;
  set($('stream-state'), name);
  $('stream').textContent = name;
  showTime();
}

function showLatency(ms) {
  $('latency').textContent = ms === null ? 'No answer' : format(ms);
  $('latency-unit').hidden = ms === null;
  $('latency').parentElement.classList.toggle('none', ms === null);
  const summary = sparkline.summary();
  for (const [id, name] of [['min', 'fastest'], ['median', 'median'], ['max', 'slowest']]) {
    $(`latency-${id}`).textContent = summary ? `${format(summary[name])} ms` : '–';
  }
  const last = `${sparkline.samples.length} round trips`;
  $('sparkline').setAttribute('aria-label', summary
    ? `${last}: ${format(summary.fastest)} to ${format(summary.slowest)} milliseconds`
    : `${last}, none answered`);
}

function format(ms) {
  return ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0);
}

// Updates the texts that change with time: durations and countdowns.
function showTime() {
  const elapsed = Math.max(0, Date.now() / 1000 + clockOffset - (status.at ?? Date.now() / 1000));
  const left = Math.max(0, Math.ceil((status.delay ?? 0) - elapsed));
  $('since-name').textContent = status.state === 'waiting' ? 'Next attempt' : 'For';
  $('since').textContent = status.at === undefined ? '–'
    : status.state === 'waiting' ? `in ${left} s` : duration(elapsed);
  const notice = noticeOf(left);
  $('notice').hidden = !notice;
  set($('notice'), notice);
}

function noticeOf(left) {
  if (root.dataset.stream === 'lost') return 'The page has lost its server. It reconnects by itself.';
  if (status.state === 'waiting') return `The upstream is not connected: ${status.why}. Retrying.`;
  if (status.state === 'connecting' && status.failures) return 'The upstream is not connected. Connecting …';
  return '';
}

function duration(seconds) {
  const [s, m, h] = [seconds % 60, seconds / 60 % 60, seconds / 3600].map(Math.floor);
  return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}

// Screen readers announce each change of a live region, so avoid changes to the same text.
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

setInterval(showTime, 1000);

$('composer').addEventListener('submit', async (event) => {
  event.preventDefault();
  const field = $('text');
  const text = field.value;
  if (!text.trim()) return;
  $('send').disabled = true;
  set($('composer-error'), '');
  if (unsent.text !== text) unsent = { text, key: newKey() };
  try {
    messages.own(await post(unsent));
    unsent = {};
    if (field.value === text) field.value = '';
  } catch (error) {
    set($('composer-error'), error.message); // the text stays in the field, to be sent again
  } finally {
    $('send').disabled = false;
    field.focus();
  }
});

// A browser may also repeat a post by itself, if its connection is lost before the answer.
function newKey() {
  return [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join('-');
}

async function post(message) {
  let response;
  try {
    response = await fetch('/messages', {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(message),
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    throw new Error('No answer from the server. The message may have arrived.');
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server answered ${response.status}.`);
  return answer.id;
}
