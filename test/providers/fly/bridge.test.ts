import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { serve } from "../../../providers/fly/http.ts";
import type { FetchHandler, HttpServer } from "../../../providers/fly/http.ts";
import { openState } from "../../../providers/fly/state.ts";
import { configText, echoNode, keyText, nodeBundle } from "./cloud.ts";

const origin = "https://hub.example";

describe("the HTTP bridge", () => {
  let server: HttpServer | undefined;
  const errors: unknown[] = [];
  const open = async (handler: FetchHandler): Promise<string> => {
    errors.length = 0;
    server = await serve(handler, { hostname: "127.0.0.1", port: 0, origin, onError: (error) => errors.push(error) });
    return `http://127.0.0.1:${server.port}`;
  };
  /** A request as it is on the wire, and the answer's bytes. */
  const raw = (text: string): Promise<string> =>
    new Promise((done) => {
      let answer = "";
      const socket = connect({ port: server?.port as number, host: "127.0.0.1" }, () =>
        socket.end(text.replaceAll("\n", "\r\n")),
      );
      socket.on("data", (chunk) => (answer += String(chunk))).on("close", () => done(answer));
    });

  afterEach(async () => {
    await server?.close(100);
    server = undefined;
  });

  test("requests carry method, public origin, path, headers and body", async () => {
    const url = await open(async (request) =>
      Response.json({
        method: request.method,
        url: request.url,
        headers: Object.fromEntries(request.headers),
        body: await request.text(),
      }),
    );
    const answer = await fetch(`${url}/mcp?a=%2F&b`, {
      method: "PUT",
      body: "hé",
      headers: { "x-one": "1", cookie: "a=1" },
    });
    expect(await answer.json()).toMatchObject({
      method: "PUT",
      url: `${origin}/mcp?a=%2F&b`,
      body: "hé",
      headers: { "x-one": "1", cookie: "a=1", "content-length": "3" },
    });
  });

  test("no request target leads to another origin", async () => {
    await open(async (request) => new Response(`url=${request.url}`));
    const targets = {
      "//evil.example/x": `${origin}//evil.example/x`,
      "http://evil.example/x?y": `${origin}/x?y`,
      "*": `${origin}/`,
    };
    for (const [target, url] of Object.entries(targets)) {
      expect(
        await raw(
          `${target === "*" ? "OPTIONS" : "GET"} ${target} HTTP/1.1\nHost: evil.example\nConnection: close\n\n`,
        ),
      ).toContain(`url=${url}`);
    }
  });

  test("answers keep status, headers and each cookie; HEAD and 204 have no body", async () => {
    const url = await open(async (request) => {
      if (request.method === "HEAD") return new Response("hidden", { headers: { "x-length": "6" } });
      if (request.url.endsWith("/none")) return new Response(null, { status: 204 });
      const headers = new Headers([
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
        ["x-many", "1"],
        ["x-many", "2"],
      ]);
      return new Response("teapot", { status: 418, headers });
    });
    const answer = await fetch(url);
    expect([answer.status, answer.headers.getSetCookie(), answer.headers.get("x-many"), await answer.text()]).toEqual([
      418,
      ["a=1", "b=2"],
      "1, 2",
      "teapot",
    ]);
    expect((await fetch(url, { method: "HEAD" })).headers.get("x-length")).toBe("6");
    expect((await fetch(`${url}/none`)).status).toBe(204);
  });

  test("bodies of any size stream both ways, byte for byte, without waiting for the end", async () => {
    const url = await open(async (request) => new Response(request.body));
    for (const size of [0, 1, 65_536, 65_537, 3_000_000]) {
      const body = new Uint8Array(size).map((_, n) => n % 251);
      const answer = await fetch(url, { method: "POST", body });
      expect(Buffer.from(await answer.arrayBuffer()).equals(body), String(size)).toBe(true);
    }
    const call = httpRequest(url, { method: "POST" });
    call.write("first");
    const [answer] = (await once(call, "response")) as [AsyncIterable<Buffer>];
    for await (const chunk of answer) {
      expect(String(chunk)).toBe("first");
      break;
    }
    call.destroy();
  });

  test("a client that leaves aborts the request and cancels the stream, even while it is silent", async () => {
    const aborted = Promise.withResolvers<unknown>();
    const cancelled = Promise.withResolvers<unknown>();
    const url = await open(async (request) => {
      request.signal.addEventListener("abort", () => aborted.resolve(request.signal.reason));
      return new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(new TextEncoder().encode("data: 1\n\n")),
          cancel: cancelled.resolve,
        }),
        { headers: { "content-type": "text/event-stream" } },
      );
    });
    const leave = new AbortController();
    const answer = await fetch(url, { signal: leave.signal });
    const reader = answer.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe("data: 1\n\n");
    leave.abort();
    expect(String(await aborted.promise)).toMatch(/client left/);
    await cancelled.promise;
    expect(errors).toEqual([]);
  });

  test("a slow reader holds the source back", async () => {
    let pulled = 0;
    const url = await open(async () => {
      const chunk = new Uint8Array(65_536);
      return new Response(
        new ReadableStream({
          pull: (controller) => void (pulled++ < 2000 ? controller.enqueue(chunk) : controller.close()),
        }),
      );
    });
    const call = httpRequest(url).end();
    const [answer] = await once(call, "response");
    answer.pause();
    await new Promise((done) => setTimeout(done, 200));
    expect(pulled).toBeLessThan(500);
    call.destroy();
  });

  test("a handler that throws is a bare 500 and is reported", async () => {
    const url = await open(async () => {
      throw new Error("secret detail");
    });
    const answer = await fetch(url);
    expect([answer.status, await answer.text()]).toEqual([500, "internal error\n"]);
    expect(errors.map(String)).toEqual(["Error: secret detail"]);
  });

  test("a stream that breaks ends the connection, so that the client cannot take it for whole", async () => {
    const url = await open(async () => {
      let sent = false;
      return new Response(
        new ReadableStream({
          pull(controller) {
            if (sent) throw new Error("broken source");
            sent = true;
            controller.enqueue(new Uint8Array(10));
          },
        }),
      );
    });
    await expect(fetch(url).then((answer) => answer.arrayBuffer())).rejects.toThrow();
    expect(errors.map(String)).toEqual(["Error: broken source"]);
  });

  test("closing lets requests finish, takes no new ones, and aborts those that never end", async () => {
    const release = Promise.withResolvers<void>();
    const started = Promise.withResolvers<void>();
    const url = await open(async (request) => {
      if (request.url.endsWith("/endless"))
        return new Response(new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(1)) }));
      started.resolve();
      await release.promise;
      return new Response("finished");
    });
    const slow = fetch(`${url}/slow`);
    await started.promise;
    const closed = server?.close(2000);
    await expect(fetch(url)).rejects.toThrow();
    release.resolve();
    expect(await (await slow).text()).toBe("finished");
    await closed;

    const other = await open(
      async () => new Response(new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(1)) })),
    );
    const endless = await fetch(`${other}/endless`);
    const begun = Date.now();
    await server?.close(100);
    expect(Date.now() - begun).toBeLessThan(1500);
    await expect(endless.arrayBuffer()).rejects.toThrow();
  });
});

describe("the entry on real Node.js", { timeout: 30_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), "fly-entry-"));
  const running: ChildProcess[] = [];
  const url = "https://hub.example/base";
  const variables = {
    FEDERATION_CONFIG: configText(url),
    FEDERATION_KEY: keyText,
    FEDERATION_DATA: join(dir, "data"),
    HOST: "127.0.0.1",
  };

  beforeAll(async () => writeFileSync(join(dir, "node.mjs"), await nodeBundle(echoNode)));
  afterAll(() => {
    for (const child of running) child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  });

  function start(env: Record<string, string>): { child: ChildProcess; text: () => string } {
    let text = "";
    const child = spawn(process.execPath, [join(dir, "node.mjs")], { env: { PATH: process.env["PATH"], ...env } });
    running.push(child);
    child.stdout?.on("data", (chunk) => (text += String(chunk)));
    child.stderr?.on("data", (chunk) => (text += String(chunk)));
    return { child, text: () => text };
  }

  async function up(port: number): Promise<ReturnType<typeof start>> {
    const started = start({ ...variables, PORT: String(port) });
    for (let tries = 0; tries < 100; tries += 1) {
      if (
        await fetch(`http://127.0.0.1:${port}/health`).then(
          (answer) => answer.ok,
          () => false,
        )
      )
        return started;
      await new Promise((done) => setTimeout(done, 50));
    }
    throw new Error(started.text());
  }

  async function freePort(): Promise<number> {
    const server = await serve(async () => new Response(), {
      hostname: "127.0.0.1",
      port: 0,
      origin,
      onError: () => undefined,
    });
    await server.close(0);
    return server.port;
  }

  test("serves, says nothing, and ends in order: streams are cut, background work is done, the database is closed", async () => {
    const port = await freePort();
    const { child, text } = await up(port);
    expect(((await (await fetch(`http://127.0.0.1:${port}/mcp`)).json()) as any).url).toBe("https://hub.example/mcp");
    const leave = new AbortController();
    const stream = await fetch(`http://127.0.0.1:${port}/slow`, { signal: leave.signal });
    await stream.body?.getReader().read();
    leave.abort();
    const keys = async (): Promise<string[]> =>
      ((await (await fetch(`http://127.0.0.1:${port}/state`)).json()) as any[]).map((entry) => entry.key);
    for (let tries = 0; tries < 50 && (await keys()).length < 2; tries += 1)
      await new Promise((done) => setTimeout(done, 20));
    expect(await keys()).toEqual(["aborted", "cancelled"]);
    child.kill("SIGTERM");
    const [code] = (await once(child, "exit")) as [number];
    expect([code, text()]).toEqual([0, ""]);
    const state = openState(join(dir, "data", "state.sqlite"));
    expect((await state.list("")).entries).toHaveLength(2);
    state.close();
  });

  test("a missing or broken variable ends it with a message that names the variable and not its value", async () => {
    for (const [change, message] of [
      [{ FEDERATION_KEY: "" }, /FEDERATION_KEY is not set/],
      [{ FEDERATION_KEY: "{s3cret" }, /FEDERATION_KEY is not JSON/],
      [{ FEDERATION_DATA: "" }, /FEDERATION_DATA is not set/],
      [{ PORT: "eighty" }, /PORT is "eighty"/],
    ] as const) {
      const { child, text } = start({ ...variables, ...change });
      const [code] = (await once(child, "close")) as [number];
      expect(code).toBe(1);
      expect(text()).toMatch(message);
      expect(text()).not.toContain("s3cret");
    }
  });
});
