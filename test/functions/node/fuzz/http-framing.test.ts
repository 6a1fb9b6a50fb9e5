import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { httpClient } from "../../../../providers/fly/client.ts";

const second = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n"second"';
/** Milliseconds that the client gives an answer. */
const deadline = 250;
const client = httpClient();
let raw = "";
let cuts: readonly number[] = [];
let ends = false;
let answered = 0;
const sockets = new Set<Socket>();

/** Answers the first request of each case with raw bytes and all others with `second`, over whatever connection they come. */
const server = createServer((socket) => {
  sockets.add(socket);
  socket.on("close", () => sockets.delete(socket)).on("error", () => undefined);
  socket.on("data", () => {
    answered += 1;
    if (answered > 1) return void socket.write(second);
    const bytes = Buffer.from(raw, "latin1");
    const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
    for (const [n, from] of at.slice(0, -1).entries()) socket.write(bytes.subarray(from, at[n + 1]));
    if (ends) socket.end();
  });
});

beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterAll(() => {
  client.close();
  for (const socket of sockets) socket.destroy();
  server.close();
});

const lineEnd = fc.oneof(
  { weight: 20, arbitrary: fc.constant("\r\n") },
  { weight: 1, arbitrary: fc.constantFrom("\n", "\r", "", "\r\n ", "\0\r\n") },
);
const status = fc.oneof(
  { weight: 6, arbitrary: fc.constant("HTTP/1.1 200 OK") },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
      "HTTP/1.0 200 OK",
      "HTTP/1.1 204 None",
      "HTTP/1.1 503 Busy",
      "HTTP/1.1 999 X",
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "HTTP/2 200",
      "HTTP/1.1 20 OK",
      "HTTP/1.1 101 Switch",
      "GET / HTTP/1.1",
      "",
      "HTTP/1.1  200",
    ),
  },
);
const field = fc.oneof(
  fc.constantFrom(
    "content-type: application/json",
    "content-type: text/event-stream",
    "connection: close",
    "connection: keep-alive",
    "x: y",
  ),
  fc.constantFrom(
    ..."0 1 5 7 8 30 -1 +5 0x5 5,5 99999999999999999999 1e3".split(" ").map((length) => `content-length: ${length}`),
  ),
  fc.constantFrom(
    "transfer-encoding: chunked",
    "transfer-encoding: chunked, gzip",
    "Transfer-Encoding : chunked",
    " folded",
    "__proto__: x",
    "no colon",
    `long: ${"x".repeat(70_000)}`,
  ),
);
const body = fc
  .array(
    fc.constantFrom(
      '"first"',
      "5\r\nfirst\r\n",
      "0\r\n\r\n",
      "ffffffff\r\n",
      "-1\r\n",
      "5;ext=1\r\n",
      "data: first\n\n",
      second,
      "\r\n",
      "HTTP/1.1 200 OK\r\n\r\n",
      "x".repeat(5_000),
    ),
    { maxLength: 5 },
  )
  .map((parts) => parts.join(""));
const answer = fc
  .tuple(status, fc.array(field, { maxLength: 4 }), lineEnd, lineEnd, body)
  .map(([first, fields, end, last, rest]) => [first, ...fields].join(end) + end + last + rest);

test("whatever a peer sends as HTTP, a request settles in time, and the next one gets its own answer or none", async () => {
  const faults: unknown[] = [];
  const note = (cause: unknown) => void faults.push(cause);
  process.on("unhandledRejection", note).on("uncaughtException", note);
  try {
    await fc.assert(
      fc.asyncProperty(answer, fc.array(fc.nat(200), { maxLength: 3 }), fc.boolean(), async (bytes, at, end) => {
        [raw, cuts, ends, answered] = [bytes, at, end, 0];
        await ask();
        const next = await ask();
        expect(['"second"', "refused"]).toContain(next);
        expect(faults).toEqual([]);
      }),
      // Silence costs the deadline, so runs are few; a failing case costs it many times over.
      { numRuns: 60, interruptAfterTimeLimit: 40_000, markInterruptAsFailure: false },
    );
  } finally {
    process.off("unhandledRejection", note).off("uncaughtException", note);
  }
});

async function ask(): Promise<string> {
  const { port } = server.address() as AddressInfo;
  const headers = { "content-type": "application/json" };
  const started = performance.now();
  let text: string;
  try {
    const response = await client.exchange({
      url: `http://127.0.0.1:${port}/mcp`,
      headers,
      body: "{}",
      deadline,
      signal: undefined,
    });
    text = response instanceof Response ? await response.text() : String(response.body);
  } catch (cause) {
    expect(cause).toBeInstanceOf(Error);
    text = "refused";
  }
  expect(performance.now() - started).toBeLessThan(deadline + 1_500);
  return text;
}
