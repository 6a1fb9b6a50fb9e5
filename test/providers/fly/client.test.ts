import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { OutboundRequest, PlainResponse } from "../../../functions/node/platform.ts";
import { type HttpClient, httpClient } from "../../../providers/fly/client.ts";

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const work of cleanup.splice(0)) await work();
});

function client(): HttpClient {
  const made = httpClient();
  cleanup.push(() => made.close());
  return made;
}

/** A server that answers each request with these bytes, `gap` milliseconds apart; the heads of the requests it got. */
async function raw(pieces: readonly string[], { close = false, gap = 0 } = {}) {
  const heads: string[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", async (data) => {
      heads.push(data.toString());
      for (const piece of pieces) {
        if (gap > 0) await new Promise((done) => setTimeout(done, gap));
        socket.write(piece, "latin1");
      }
      if (close) socket.end();
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanup.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp?a=b`;
  return { url, heads, sockets, connections: () => connections };
}

const post = (url: string, rest: Partial<OutboundRequest> = {}): OutboundRequest => ({
  url,
  headers: { "content-type": "application/json" },
  body: '{"text":"Grüße"}',
  deadline: 2_000,
  ...rest,
});

const json = (body: string) =>
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${Buffer.from(body).toString("latin1")}`;

test("a short answer comes whole, over one connection that is kept", async () => {
  const server = await raw([json('{"ok":"ja, Grüße"}')]);
  const { exchange } = client();
  for (let n = 0; n < 3; n += 1) {
    const answer = (await exchange(post(server.url))) as PlainResponse;
    expect(answer).toMatchObject({ status: 200, body: '{"ok":"ja, Grüße"}' });
    expect(answer.headers["content-type"]).toBe("application/json");
  }
  expect(server.connections()).toBe(1);
  const { host } = new URL(server.url);
  expect(server.heads[0]).toBe(
    `POST /mcp?a=b HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 18\r\ncontent-type: application/json\r\n\r\n{"text":"Grüße"}`,
  );
});

test("however it is cut up", async () => {
  const whole = `HTTP/1.1 100 Continue\r\n\r\n${json('{"n":1}')}`;
  for (const size of [1, 7]) {
    const server = await raw(whole.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [], { gap: 1 });
    expect(await client().exchange(post(server.url))).toMatchObject({ status: 200, body: '{"n":1}' });
  }
});

test("real node:http is understood: chunks, events, empty answers, errors", async () => {
  const server = createHttpServer((request, response) => {
    request.resume();
    switch (request.url) {
      case "/chunked":
        response.writeHead(200, { "content-type": "application/json" });
        response.write('{"a":');
        setTimeout(() => response.end("1}"), 5);
        return;
      case "/events":
        response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
        setTimeout(() => response.end("data: 2\n\n"), 5);
        return;
      case "/empty":
        response.writeHead(204).end();
        return;
      default:
        response.writeHead(503, { "content-type": "text/plain", "content-length": 2, connection: "close" }).end("no");
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanup.push(() => server.close());
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { exchange } = client();
  for (let n = 0; n < 2; n += 1) {
    expect(await ((await exchange(post(`${base}/chunked`))) as Response).json()).toEqual({ a: 1 });
    const events = (await exchange(post(`${base}/events`))) as Response;
    expect([events.status, await events.text()]).toEqual([200, "data: 1\n\ndata: 2\n\n"]);
    expect(await exchange(post(`${base}/empty`))).toMatchObject({ status: 204, body: "" });
    expect(await exchange(post(`${base}/else`))).toMatchObject({ status: 503, body: "no" });
  }
});

describe("refuses an answer that is ambiguous, and its connection:", () => {
  test.each([
    ["no HTTP", "SSH-2.0-OpenSSH_9\r\n\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"],
    ["length and encoding", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["another encoding", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
    ["a length that is no number", "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\na"],
    ["a space before the colon", "HTTP/1.1 200 OK\r\ncontent-length : 1\r\n\r\na"],
    ["a folded header", "HTTP/1.1 200 OK\r\nx: 1\r\n 2\r\ncontent-length: 0\r\n\r\n"],
    ["more than it announced", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab"],
    ["an unasked switch of protocols", "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
    ["a head without end", `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(20_000)}`],
  ])("%s", async (_, bytes) => {
    const server = await raw([bytes]);
    const { exchange } = client();
    await expect(exchange(post(server.url))).rejects.toThrow();
    await expect(exchange(post(server.url))).rejects.toThrow();
    expect(server.connections()).toBe(2);
  });

  test.each([
    ["a chunk's size that is no number", "x\r\n"],
    ["a chunk that is longer than announced", "1\r\nab\r\n0\r\n\r\n"],
    ["lines that end in LF alone", "1\na\n0\n\n"],
  ])("%s", async (_, body) => {
    const server = await raw([`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${body}`]);
    await expect(
      client()
        .exchange(post(server.url))
        .then(async (answer) => await (answer as Response).text()),
    ).rejects.toThrow();
  });

  test("that ends too early", async () => {
    const server = await raw(["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"], { close: true });
    await expect(client().exchange(post(server.url))).rejects.toThrow();
  });
});

test("the deadline covers silence, and a stream that does not end", async () => {
  const silent = await raw([]);
  await expect(client().exchange(post(silent.url, { deadline: 50 }))).rejects.toMatchObject({ name: "TimeoutError" });
  const endless = await raw(["HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n"]);
  const answer = (await client().exchange(post(endless.url, { deadline: 200 }))) as Response;
  await expect(answer.text()).rejects.toMatchObject({ name: "TimeoutError" });
});

test("a caller that leaves ends the connection, before the answer and within it", async () => {
  for (const pieces of [[], ["HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n"]]) {
    const server = await raw(pieces);
    const abort = new AbortController();
    const work = client()
      .exchange(post(server.url, { signal: abort.signal }))
      .then(async (answer) => await (answer as Response).text());
    await expect.poll(() => server.heads.length).toBe(1);
    const [socket] = server.sockets;
    abort.abort(new Error("the caller left"));
    await expect(work).rejects.toThrow("the caller left");
    await expect.poll(() => socket?.destroyed || socket?.readableEnded || socket?.errored).toBeTruthy();
  }
  const cancelled = await raw(["HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n"]);
  const answer = (await client().exchange(post(cancelled.url))) as Response;
  await answer.body?.cancel();
  const [socket] = cancelled.sockets;
  await expect.poll(() => socket?.destroyed || socket?.readableEnded || socket?.errored).toBeTruthy();
});

test("a connection that the server closed meanwhile is not used", async () => {
  const server = await raw([json("{}")]);
  const { exchange } = client();
  await exchange(post(server.url));
  for (const socket of server.sockets) socket.destroy();
  await new Promise((done) => setTimeout(done, 20));
  expect(await exchange(post(server.url))).toMatchObject({ status: 200 });
  expect(server.connections()).toBe(2);
});

test("nothing is sent that is no header or no web address", async () => {
  const server = await raw([json("{}")]);
  const { exchange } = client();
  for (const value of ["a\r\nx-evil: 1", "a\nb", "€"])
    await expect(exchange(post(server.url, { headers: { "mcp-param-a": value } }))).rejects.toThrow(TypeError);
  await expect(exchange(post("ftp://127.0.0.1/"))).rejects.toThrow(TypeError);
  expect(server.heads).toEqual([]);
});
