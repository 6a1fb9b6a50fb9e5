import type { PlainResponse } from "../../functions/node/platform.ts";

/** What an answer's reader does with it, and with the connection. */
export interface AnswerEvents {
  /** The whole of a short answer, or the head of a stream. */
  resolve(answer: PlainResponse | Response): void;
  reject(error: Error): void;
  /** The answer is complete; `reusable` when the connection may carry another. */
  done(reusable: boolean): void;
  pause(): void;
  resume(): void;
  /** Nobody wants the rest. */
  stop(): void;
}

const maxHead = 65_536;
/** Bodies up to this size with an announced length are given whole; others as a stream, whose reader counts for itself. */
const maxWhole = 1_048_576;
const headEnd = Buffer.from("\r\n\r\n");
/** A field name is a token (RFC 9110, 5.6.2). A space before the colon or a folded line is how requests and answers get smuggled. */
const fieldLine = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/;
const chunkSize = /^([0-9a-fA-F]{1,8})[ \t]*(;.*)?$/;

type Framing = { readonly kind: "length"; left: number } | Chunked | { readonly kind: "until close" };

interface Chunked {
  readonly kind: "chunked";
  /** Bytes of the current chunk that are still to come; 0 = a size line is. */
  left: number;
  state: "size" | "data" | "data end" | "trailers";
}

/** Reads one HTTP/1.1 response (RFC 9112) from the bytes of a connection. Strict: what is ambiguous ends the connection. */
export class AnswerReader {
  readonly #events: AnswerEvents;
  #head: Buffer | undefined;
  #status = 0;
  #headers: Record<string, string> = {};
  #keepAlive = false;
  #framing: Framing | undefined;
  /** Of an answer that is given whole. */
  #whole: Buffer[] | undefined;
  #stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  #line = "";
  #finished = false;

  constructor(events: AnswerEvents) {
    this.#events = events;
  }

  read(part: Buffer): void {
    try {
      this.#take(part);
    } catch (error) {
      this.fail(error as Error);
    }
  }

  /** The peer sent its last byte. */
  end(): void {
    if (this.#framing?.kind === "until close") this.#finish(false);
    else this.fail(new Error("the connection ended within an answer"));
  }

  fail(error: Error): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#stream?.error(error);
    this.#events.reject(error);
    this.#events.done(false);
  }

  #take(part: Buffer): void {
    if (this.#finished) throw new Error("the peer sent more than its answer");
    if (this.#framing) return this.#takeBody(this.#framing, part);
    const all = this.#head ? Buffer.concat([this.#head, part]) : part;
    const end = all.indexOf(headEnd);
    if (end < 0) {
      if (all.length > maxHead) throw new Error(`the head of the answer has more than ${maxHead} bytes`);
      this.#head = all;
      return;
    }
    this.#head = undefined;
    this.#readHead(all.toString("latin1", 0, end));
    const rest = all.subarray(end + headEnd.length);
    // An interim answer (100, 103) is followed by the real one.
    if (this.#status < 200) {
      if (this.#status === 101) throw new Error("the peer switched protocols unasked");
      if (rest.length > 0) this.#take(rest);
      return;
    }
    const framing = this.#begin();
    if (rest.length > 0) this.#takeBody(framing, rest);
    else if (framing.kind === "length" && framing.left === 0) this.#finish(this.#keepAlive);
  }

  #readHead(text: string): void {
    const lines = text.split("\r\n");
    const status = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: .*)?$/.exec(lines[0] as string);
    if (!status) throw new Error("the answer is not HTTP/1.1");
    this.#status = Number(status[2]);
    const headers: Record<string, string> = {};
    for (let n = 1; n < lines.length; n += 1) {
      const field = fieldLine.exec(lines[n] as string);
      if (!field) throw new Error("the answer has a malformed header");
      const name = (field[1] as string).toLowerCase();
      const value = field[2] as string;
      if (headers[name] !== undefined && name === "content-length" && headers[name] !== value)
        throw new Error("the answer announces two lengths");
      headers[name] = headers[name] === undefined || name === "content-length" ? value : `${headers[name]}, ${value}`;
    }
    this.#headers = headers;
    const connection = (headers["connection"] ?? "").toLowerCase();
    this.#keepAlive = status[1] === "1" && !/(^|,)\s*close\s*(,|$)/.test(connection);
  }

  #begin(): Framing {
    const framing = this.#readFraming();
    this.#framing = framing;
    if (
      framing.kind === "length" &&
      framing.left <= maxWhole &&
      !/^text\/event-stream/i.test(this.#headers["content-type"] ?? "")
    ) {
      this.#whole = [];
      return framing;
    }
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => void (this.#stream = controller),
        pull: () => this.#events.resume(),
        cancel: () => {
          this.#finished = true;
          this.#events.stop();
          this.#events.done(false);
        },
      },
      { highWaterMark: 16 },
    );
    const empty = this.#status === 204 || this.#status === 205 || this.#status === 304;
    const headers = Object.entries(this.#headers).filter(([name]) => name !== "set-cookie");
    this.#events.resolve(new Response(empty ? null : body, { status: this.#status, headers }));
    return framing;
  }

  #readFraming(): Framing {
    const { "transfer-encoding": encoding, "content-length": length } = this.#headers;
    if (this.#status === 204 || this.#status === 304) return { kind: "length", left: 0 };
    if (encoding !== undefined) {
      if (length !== undefined) throw new Error("the answer has both a length and a transfer encoding");
      if (encoding.toLowerCase() !== "chunked") throw new Error("the answer has an unknown transfer encoding");
      return { kind: "chunked", left: 0, state: "size" };
    }
    if (length === undefined) return { kind: "until close" };
    if (!/^\d{1,15}$/.test(length)) throw new Error("the answer's length is no number");
    return { kind: "length", left: Number(length) };
  }

  #takeBody(framing: Framing, part: Buffer): void {
    if (framing.kind === "until close") return this.#give(part);
    if (framing.kind === "chunked") return this.#takeChunks(framing, part);
    if (part.length > framing.left) throw new Error("the answer is longer than announced");
    framing.left -= part.length;
    this.#give(part);
    if (framing.left === 0) this.#finish(this.#keepAlive);
  }

  #takeChunks(framing: Chunked, part: Buffer): void {
    let at = 0;
    while (at < part.length) {
      if (framing.state === "data") {
        const taken = part.subarray(at, at + framing.left);
        at += taken.length;
        framing.left -= taken.length;
        this.#give(taken);
        if (framing.left === 0) framing.state = "data end";
        continue;
      }
      const end = part.indexOf(10, at);
      this.#line += part.toString("latin1", at, end < 0 ? part.length : end + 1);
      at = end < 0 ? part.length : end + 1;
      if (this.#line.length > 8_192) throw new Error("a line of a chunked answer is too long");
      if (end < 0) return;
      if (!this.#line.endsWith("\r\n")) throw new Error("a line of a chunked answer does not end as it must");
      const line = this.#line.slice(0, -2);
      this.#line = "";
      if (framing.state === "data end") {
        if (line !== "") throw new Error("a chunk is longer than announced");
        framing.state = "size";
      } else if (framing.state === "size") {
        const size = chunkSize.exec(line)?.[1];
        if (size === undefined) throw new Error("a chunk's size is no number");
        framing.left = Number.parseInt(size, 16);
        framing.state = framing.left === 0 ? "trailers" : "data";
      } else if (line === "") {
        if (at < part.length) throw new Error("the peer sent more than its answer");
        return this.#finish(this.#keepAlive);
      }
    }
  }

  #give(part: Buffer): void {
    if (this.#whole) {
      this.#whole.push(part);
      return;
    }
    this.#stream?.enqueue(new Uint8Array(part));
    if ((this.#stream?.desiredSize ?? 1) <= 0) this.#events.pause();
  }

  #finish(reusable: boolean): void {
    this.#finished = true;
    if (this.#whole) {
      const bytes = this.#whole.length === 1 ? (this.#whole[0] as Buffer) : Buffer.concat(this.#whole);
      this.#events.resolve({ status: this.#status, headers: this.#headers, body: bytes.toString("utf8") });
    } else this.#stream?.close();
    this.#events.done(reusable);
    this.#events.resume();
  }
}
