import type { Socket } from "../../../../functions/node/protocol/websocket/socket.ts";

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

/** The client's end of a socket within this process. */
export class ClientSocket {
  /** What the node agreed to speak. */
  readonly subprotocol: string;
  readonly closed: Promise<Closed>;
  /** Every message so far. */
  readonly messages: any[] = [];
  readonly #buffer = { bytes: 0 };
  readonly #listeners: { [type: string]: ((event: { data: unknown }) => void)[] } = {};
  #waiting: { wants: (message: any) => boolean; found: (message: any) => void }[] = [];
  #close!: (closed: Closed) => void;
  #open = true;

  constructor(subprotocol: string) {
    this.subprotocol = subprotocol;
    this.closed = new Promise((resolve) => (this.#close = resolve));
  }

  /** The node's end. */
  server(): Socket {
    const buffer = this.#buffer;
    return {
      get bufferedAmount() {
        return buffer.bytes;
      },
      send: (text) => {
        if (!this.#open) throw new Error("the socket is closed");
        this.#take(JSON.parse(text));
      },
      close: (code, reason) => {
        this.#open = false;
        this.#close({ code, reason });
      },
      addEventListener: (type: string, listener: (event: { data: unknown }) => void) => {
        (this.#listeners[type] ??= []).push(listener);
      },
    };
  }

  /** What the node's end shall say of its send buffer. */
  set bufferedAmount(bytes: number) {
    this.#buffer.bytes = bytes;
  }

  send(data: unknown): void {
    this.#emit("message", typeof data === "string" || data instanceof Uint8Array ? data : JSON.stringify(data));
  }

  /** The client leaves. */
  leave(): void {
    this.#open = false;
    this.#emit("close", undefined);
  }

  /** The first message, past or future, that fits. */
  async message(wants: (message: any) => boolean): Promise<any> {
    return this.messages.find(wants) ?? (await new Promise((found) => this.#waiting.push({ wants, found })));
  }

  #take(message: any): void {
    this.messages.push(message);
    this.#waiting = this.#waiting.filter(({ wants, found }) => {
      if (!wants(message)) return true;
      found(message);
      return false;
    });
  }

  #emit(type: string, data: unknown): void {
    for (const listener of this.#listeners[type] ?? []) listener({ data });
  }
}
