// The list of messages: each once, in order of arrival, with a note where messages are missing.

const KEPT = 500;

export class Messages {
  #parts;
  #items = new Map(); // by id; those that are shown
  #own = new Set();
  #last = null;
  #total = 0;
  #unseen = 0;
  #size = '';
  #followed = true;

  // parts: the elements {scroll, list, empty, count, latest}
  constructor(parts) {
    this.#parts = parts;
    parts.scroll.addEventListener('scroll', () => this.#moved());
    new ResizeObserver(() => this.#resized()).observe(parts.scroll);
    parts.latest.addEventListener('click', () => this.#toEnd());
  }

  // Adds a message of the stream. After a reconnect messages may arrive again.
  add(id, { text, at }) {
    if (this.#items.has(id)) return;
    const follow = this.#follows();
    const missing = gap(this.#last, id);
    if (missing) this.#append(note(missing));
    this.#last = id;
    const item = document.createElement('li');
    item.className = 'new';
    item.append(part('span', 'text', text), time(at)); // as text, so that HTML in it is not interpreted
    this.#items.set(id, item);
    this.#append(item);
    if (this.#own.delete(id)) markOwn(item);
    this.#forgetOldest();
    this.#parts.empty.hidden = true;
    this.#parts.count.textContent = ++this.#total;
    if (follow) this.#toEnd();
    else this.#showUnseen(this.#unseen + 1);
  }

  // Marks a message of this page. The answer to the post may arrive before or after the message.
  own(id) {
    const item = this.#items.get(id);
    if (item) markOwn(item);
    else this.#own.add(id);
    this.#toEnd();
  }

  #append(element) {
    this.#parts.list.append(element);
  }

  #forgetOldest() {
    while (this.#items.size > KEPT) this.#items.delete(this.#items.keys().next().value);
    while (this.#parts.list.childElementCount > KEPT) this.#parts.list.firstElementChild.remove();
  }

  // Whether the end of the list is visible, or was visible before the list was resized, for
  // example by a notice or by turning a phone.
  #follows() {
    const { scrollHeight, scrollTop, clientHeight } = this.#parts.scroll;
    if (this.#size !== this.#currentSize()) return this.#followed;
    return scrollHeight - scrollTop - clientHeight < 40;
  }

  #currentSize() {
    return `${this.#parts.scroll.clientWidth} ${this.#parts.scroll.clientHeight}`;
  }

  #moved() {
    this.#followed = this.#follows();
    if (this.#followed) this.#seen();
  }

  #resized() {
    if (this.#follows()) this.#toEnd();
    this.#size = this.#currentSize();
  }

  #toEnd() {
    this.#parts.scroll.scrollTop = this.#parts.scroll.scrollHeight;
    this.#followed = true;
    this.#seen();
  }

  #seen() {
    this.#showUnseen(0);
  }

  #showUnseen(count) {
    this.#unseen = count;
    this.#parts.latest.hidden = !count;
    this.#parts.latest.textContent = count === 1 ? '1 new message' : `${count} new messages`;
  }
}

// Number of missing messages between two ids EPOCH-NUMBER; unknown, so 0, between epochs.
function gap(before, after) {
  if (before === null) return 0;
  const [[oldEpoch, oldNumber], [epoch, number]] = [before.split('-'), after.split('-')];
  return epoch === oldEpoch ? Math.max(0, number - oldNumber - 1) : 0;
}

function note(missing) {
  const item = document.createElement('li');
  item.className = 'gap';
  item.textContent = missing === 1 ? '1 message is missing here' : `${missing} messages are missing here`;
  return item;
}

function part(name, style, text) {
  const element = document.createElement(name);
  element.className = style;
  element.textContent = text;
  return element;
}

function time(seconds) {
  const date = new Date(seconds * 1000);
  const element = part('time', '', date.toLocaleTimeString([], { timeStyle: 'medium' }));
  element.dateTime = date.toISOString();
  element.title = date.toLocaleString();
  return element;
}

function markOwn(item) {
  item.classList.add('own');
  item.firstElementChild.after(part('span', 'you', 'you'));
}
