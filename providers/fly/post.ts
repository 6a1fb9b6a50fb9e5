import type { IncomingMessage, ServerResponse } from "node:http";
import type { HeaderReader, PlainResponse } from "../../functions/node/platform.ts";

/** The headers of a request as `node:http` has read them: names in lower case, repeated ones joined. */
export function headersOf({ headers }: IncomingMessage): HeaderReader {
  return {
    get(name) {
      const value = headers[name.toLowerCase()];
      return value === undefined ? null : typeof value === "string" ? value : value.join(", ");
    },
    *[Symbol.iterator]() {
      for (const name in headers) yield [name, this.get(name) as string];
    },
  };
}

/** Reads a body whose announced length is small, as text. */
export function readBody(incoming: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    incoming.on("data", (part: Buffer) => parts.push(part));
    incoming.on("end", () =>
      resolve((parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)).toString("utf8")),
    );
    incoming.on("error", reject);
  });
}

/** Sends a whole response at once. */
export function send(outgoing: ServerResponse, { status, headers, body }: PlainResponse): void {
  if (outgoing.destroyed) return;
  if (typeof body === "string") {
    outgoing.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) }).end(body);
    return;
  }
  const length = body.reduce((sum, piece) => sum + piece.byteLength, 0);
  outgoing.writeHead(status, { ...headers, "content-length": length });
  // Corked, the pieces leave in one write.
  outgoing.cork();
  for (const piece of body) outgoing.write(piece);
  outgoing.end();
  outgoing.uncork();
}
