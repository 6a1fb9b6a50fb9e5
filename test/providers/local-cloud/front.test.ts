import { mkdtempSync, rmSync } from "node:fs";
import { get, request, type IncomingMessage, type Server } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Emulator } from "../../../providers/local-cloud/emulator.ts";
import { createFront } from "../../../providers/local-cloud/front.ts";
import { createSupervisor, type Supervisor } from "../../../providers/local-cloud/supervisor.ts";

const dir = mkdtempSync(join(tmpdir(), "front-"));
const spec = {
  command: "node",
  args: (port: number) => [join(import.meta.dirname, "runtime.ts"), String(port)],
  env: () => ({}),
  cwd: dir,
  readyPath: "/",
};
/** Runs `/run/<runtime>/...`, answers the rest itself. */
const emulator: Emulator = {
  route(path) {
    const [, runtime, rest] = /^\/run\/([^/]+)(\/.*)$/.exec(path) ?? [];
    return runtime === undefined ? undefined : { runtime, path: rest! };
  },
  async handle(incoming) {
    const { pathname, search } = new URL(incoming.url);
    if (pathname === "/fault") throw new Error("a fault of the emulator");
    const headers = new Headers([
      ["set-cookie", "a=1"],
      ["set-cookie", "b=2"],
    ]);
    const said = {
      method: incoming.method,
      path: pathname + search,
      body: await incoming.text(),
      agent: incoming.headers.get("x-agent"),
    };
    return Response.json(said, { status: 207, headers });
  },
};
const late = Promise.withResolvers<Emulator>();
const lines: string[] = [];
let supervisor: Supervisor;
let server: Server;
let base: string;

beforeAll(async () => {
  supervisor = await createSupervisor({ dir, log: (line) => lines.push(line) });
  await supervisor.start("one", spec);
  const providers = {
    fly: { emulator: Promise.resolve(emulator), runtimes: supervisor, token: "control" },
    late: { emulator: late.promise, runtimes: supervisor, token: "other" },
  };
  server = createFront({ providers, dir, log: (line) => lines.push(line), waitMs: 3_000 });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await supervisor.close();
  rmSync(dir, { recursive: true });
});

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** A request as it stands, answered with all that was sent back on the connection. */
function raw(text: string, done: (received: string) => boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(base).port), "127.0.0.1", () => socket.write(text));
    let received = "";
    socket.on("data", (bytes) => {
      received += bytes;
      if (!done(received)) return;
      socket.destroy();
      resolve(received);
    });
    socket.on("end", () => resolve(received));
    socket.on("error", reject);
  });
}

test("a data plane request reaches the runtime as it was sent, without hop-by-hop headers", async () => {
  const answer = await raw(
    "GET /fly/run/one/headers?q=1&q=2 HTTP/1.1\r\nHost: localhost\r\nX-Twice: 1\r\nx-twice: 2\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n",
    () => false,
  );
  const seen = JSON.parse(answer.slice(answer.indexOf("{"), answer.lastIndexOf("}") + 1)) as {
    url: string;
    raw: string[];
  };
  expect(seen.url).toBe("/headers?q=1&q=2");
  expect(seen.raw).toEqual(["Host", "localhost", "X-Twice", "1", "x-twice", "2", "Connection", "keep-alive"]);
});

test("status, repeated headers and a streamed body come back", async () => {
  const chunks = ["first ", "second ", "third"];
  const body = new ReadableStream({
    async pull(controller) {
      const chunk = chunks.shift();
      if (chunk === undefined) return controller.close();
      controller.enqueue(new TextEncoder().encode(chunk));
    },
  });
  const response = await fetch(`${base}/fly/run/one/echo`, { method: "DELETE", body, duplex: "half" } as RequestInit);
  expect([response.status, response.statusText]).toEqual([201, "Echoed"]);
  expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
  expect(response.headers.has("x-hop")).toBe(false);
  expect(await response.text()).toBe("first second third");
});

test("events arrive one by one, and the runtime learns that the client went away", async () => {
  const abort = new AbortController();
  const response = await fetch(`${base}/fly/run/one/events`, { signal: abort.signal });
  const reader = response.body!.getReader();
  const first = new TextDecoder().decode((await reader.read()).value);
  expect(first).toBe("data: 0\n\n");
  abort.abort();
  await until(async () => (await (await fetch(`${base}/fly/run/one/aborted`)).text()) === "1");
});

test("a WebSocket is joined to the runtime, with the bytes that came along", async () => {
  const head =
    "GET /fly/run/one/socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
  const received = await raw(head, (text) => text.endsWith("welcome;hello"));
  expect(received).toMatch(
    /^HTTP\/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nwelcome;hello$/,
  );
});

test("a handshake that the runtime refuses comes back as it answered", async () => {
  const head =
    "GET /fly/run/one/refused HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  expect(await raw(head, () => false)).toMatch(/^HTTP\/1.1 403 Forbidden\r\n[^]*\r\n\r\nno$/);
});

test("another upgrade than WebSocket is an ordinary request", async () => {
  const head =
    "GET /fly/run/one/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n";
  expect(await raw(head, (text) => text.includes("hello"))).toMatch(/^HTTP\/1.1 200 OK\r\n/);
});

test("requests wait for a runtime that was killed", async () => {
  await expect(fetch(`${base}/fly/run/one/die`)).resolves.toMatchObject({ status: 502 });
  const answers = await Promise.all(
    Array.from({ length: 5 }, async () =>
      (await fetch(`${base}/fly/run/one/echo`, { method: "POST", body: "x" })).text(),
    ),
  );
  expect(answers).toEqual(["x", "x", "x", "x", "x"]);
});

test("a runtime that is not there is 503 in JSON", async () => {
  const response = await fetch(`${base}/fly/run/none/`);
  expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await response.json()).toEqual({ error: "runtime none does not serve; its log says why" });
});

test("the control plane sees paths after its prefix and is counted by its token only", async () => {
  const answer = await fetch(`${base}/fly/v1/apps?x=1`, {
    method: "POST",
    body: "{}",
    headers: { authorization: "Bearer control", "x-agent": "t" },
  });
  expect(answer.status).toBe(207);
  expect(answer.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
  expect(await answer.json()).toEqual({ method: "POST", path: "/v1/apps?x=1", body: "{}", agent: "t" });
  await fetch(`${base}/fly/v1/apps`, { headers: { authorization: "Bearer control" } });
  await fetch(`${base}/fly/rest/v1/state`, { method: "POST", headers: { authorization: "Bearer of a node" } });
  expect(await (await fetch(`${base}/requests`)).json()).toEqual({ fly: { POST: 1, GET: 1 }, late: {} });
});

test("a fault of an emulator is 500 without its details, and is logged with its stack", async () => {
  const response = await fetch(`${base}/fly/fault?secret=1`);
  expect([response.status, await response.json()]).toEqual([
    500,
    { error: "the local cloud has a fault; its log says more" },
  ]);
  expect(lines.filter((line) => line.includes("a fault of the emulator"))).toHaveLength(1);
  expect(lines.join("\n")).not.toContain("secret=1");
});

test("other paths are 404 and name what there is", async () => {
  for (const path of ["/nobody/x", "/constructor/x", "/favicon.ico"]) {
    const response = await fetch(base + path);
    expect([response.status, await response.json()]).toEqual([
      404,
      { error: `nothing is at ${path}: paths start with /fly/, /late/` },
    ]);
  }
});

test("a name that only points here is refused", async () => {
  for (const host of ["evil.example", "127.0.0.1.evil.example", "localhost:1@evil.example"]) {
    const response = await new Promise<IncomingMessage>((resolve) => get(`${base}/`, { headers: { host } }, resolve));
    response.resume();
    expect([host, response.statusCode]).toEqual([host, 403]);
  }
  for (const host of ["127.0.0.1:7700", "LOCALHOST", "[::1]:7700"]) {
    const response = await new Promise<IncomingMessage>((resolve) =>
      request(`${base}/`, { headers: { host } }, resolve).end(),
    );
    response.resume();
    expect([host, response.statusCode]).toEqual([host, 200]);
  }
});

test("requests wait for an emulator that is still starting", async () => {
  expect(await (await fetch(base)).json()).toMatchObject({
    name: "ai-federation local cloud",
    state: "starting",
    pid: process.pid,
    dir,
  });
  const waiting = fetch(`${base}/late/x`);
  late.resolve(emulator);
  expect((await waiting).status).toBe(207);
  const status = (await (await fetch(base)).json()) as {
    state: string;
    providers: Record<string, { runtimes: object[] }>;
  };
  expect(status.state).toBe("ready");
  expect(status.providers.fly!.runtimes).toEqual([{ ...supervisor.get("one"), state: "serving" }]);
});
