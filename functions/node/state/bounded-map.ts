/** A map that forgets what was used longest ago when it is full: when its values weigh more than the limit, each 1 by default. */
export class BoundedMap<Key, Value> {
  readonly #limit: number;
  readonly #weigh: (value: Value) => number;
  readonly #entries = new Map<Key, Value>();
  #weight = 0;

  constructor(limit: number, weigh: (value: Value) => number = () => 1) {
    this.#limit = limit;
    this.#weigh = weigh;
  }

  get(key: Key): Value | undefined {
    const value = this.#entries.get(key);
    if (value !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, value);
    }
    return value;
  }

  set(key: Key, value: Value): void {
    this.delete(key);
    this.#weight += this.#weigh(value);
    this.#entries.set(key, value);
    // What was just put stays, even if it alone is too heavy: its reader has it in hand anyway.
    while (this.#weight > this.#limit && this.#entries.size > 1) this.delete(this.#entries.keys().next().value as Key);
  }

  keys(): readonly Key[] {
    return [...this.#entries.keys()];
  }

  delete(key: Key): void {
    const value = this.#entries.get(key);
    if (value !== undefined) this.#weight -= this.#weigh(value);
    this.#entries.delete(key);
  }
}
