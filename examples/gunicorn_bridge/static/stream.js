// An EventSource that also reconnects after responses that end a normal EventSource, such as
// status 503 from a full server or 502 from a proxy.

const LONGEST = 15_000;

export class Stream extends EventTarget {
  #url;
  #kinds;
  #lastId = '';
  #failures = 0;

  constructor(url, kinds) {
    super();
    this.#url = url;
    this.#kinds = kinds;
    this.#open();
  }

  #open() {
    const after = this.#lastId ? `?after=${encodeURIComponent(this.#lastId)}` : '';
    const source = new EventSource(this.#url + after);
    source.onopen = () => {
      this.#failures = 0;
      this.dispatchEvent(new Event('open'));
    };
    source.onerror = () => {
      this.dispatchEvent(new Event('lost'));
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.#open(), this.#delay());
    };
    for (const kind of this.#kinds) {
      source.addEventListener(kind, (event) => {
        this.#lastId = event.lastEventId || this.#lastId;
        const detail = { id: event.lastEventId, data: JSON.parse(event.data) };
        this.dispatchEvent(new CustomEvent(kind, { detail }));
      });
    }
  }

  #delay() {
    const longest = Math.min(1000 * 2 ** this.#failures++, LONGEST);
    return longest * (0.5 + Math.random() / 2);
  }
}
