import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import WebSocket from "ws";
import { echoBundle, expectations, leavingCancels, twoNodes, type TwoNodes } from "../protocols.ts";

// The peer is in this process, and so are its audit lines.
vi.spyOn(console, "log").mockImplementation(() => undefined);

const dir = mkdtempSync(join(tmpdir(), "fly-websocket-"));
let nodes: TwoNodes;
let child: ChildProcess;
let output = "";

beforeAll(async () => {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  nodes = await twoNodes(`http://127.0.0.1:${port}`);
  writeFileSync(join(dir, "node.mjs"), await echoBundle("fly"));
  child = spawn(process.execPath, [join(dir, "node.mjs")], {
    env: {
      PATH: process.env["PATH"],
      FEDERATION_CONFIG: JSON.stringify(nodes.config),
      FEDERATION_KEY: JSON.stringify(nodes.key),
      FEDERATION_DATA: join(dir, "data"),
      HOST: "127.0.0.1",
      PORT: String(port),
    },
  });
  for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (chunk) => (output += String(chunk)));
  const up = async (): Promise<boolean> => (await fetch(`${nodes.config.url}/health`)).ok;
  await vi.waitFor(async () => expect(await up(), output).toBe(true), { timeout: 20_000, interval: 100 });
  await nodes.wire();
});
afterAll(async () => {
  child.kill("SIGKILL");
  await nodes.close();
  rmSync(dir, { recursive: true, force: true });
});

describe("the protocols of a node on real Node.js", () => {
  test.each(Object.entries(expectations))("%s", async (_, check) => await check(nodes));

  test("REST cancels the call of a client that leaves", async () => await leavingCancels(nodes));

  test.each<[string, Record<string, string>, number]>([
    ["an old version", { "sec-websocket-version": "7", "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==" }, 426],
    ["no key", { "sec-websocket-version": "13" }, 400],
  ])("a handshake with %s is refused before anything else", async (_, headers, status) => {
    const handshake = request(`${nodes.config.url}/mcp`, {
      headers: { connection: "upgrade", upgrade: "websocket", ...headers },
    });
    const [response] = await once(handshake.end(), "response");
    expect(response.statusCode).toBe(status);
    if (status === 426) expect(response.headers["sec-websocket-version"]).toBe("13");
    response.resume();
  });

  test("an upgrade to anything else is ignored, and a body comes with it", async () => {
    const headers = { connection: "upgrade, http2-settings", upgrade: "h2c", "http2-settings": "x" };
    const answers = ["GET", "PUT"].map(async (method) => {
      const path = method === "GET" ? "/health" : "/.well-known/federation";
      const call = request(`${nodes.config.url}${path}`, { method, headers });
      const [response] = await once(call.end(method === "PUT" ? "no manifest" : undefined), "response");
      response.resume();
      return response.statusCode;
    });
    expect(await Promise.all(answers)).toEqual([200, 401]);
  });

  test("a handshake for a path without sockets is a request like any other", async () => {
    const socket = new WebSocket(`${nodes.config.url.replace("http", "ws")}/health`);
    socket.on("error", () => undefined);
    const [, response] = await once(socket, "unexpected-response");
    expect(response.statusCode).toBe(200);
    response.resume();
  });

  test("sockets are told that the node ends, and do not hold it", async () => {
    const socket = new WebSocket(`${nodes.config.url.replace("http", "ws")}/mcp`, ["mcp"], {
      headers: { authorization: `Bearer ${await nodes.token()}` },
    });
    await once(socket, "open");
    child.kill("SIGTERM");
    const [[code], [exit]] = await Promise.all([once(socket, "close"), once(child, "exit")]);
    expect([code, exit]).toEqual([1001, 0]);
    expect(output).not.toMatch(/Error/);
  });
});
