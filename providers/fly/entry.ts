import { createPrivateKey, type KeyObject, sign } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { readConfig } from "../../functions/node/platform.ts";
import type { PrivateJwk, StartNode } from "../../functions/node/platform.ts";
import { httpClient } from "./client.ts";
import { serve } from "./http.ts";
import { openState } from "./state.ts";
import { WebSockets } from "./websocket.ts";

/** The machine's `stop_config.timeout` must be longer. */
const graceMs = 8000;

/**
 * Runs a node as an HTTP server on Node.js. Reads what `readConfig` reads, `FEDERATION_DATA` (folder of the
 * SQLite file), `PORT` (8080) and `HOST` (0.0.0.0). SIGTERM and SIGINT end it in order: requests, background work, database.
 */
export function bridge(startNode: StartNode): void {
  run(startNode).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
}

async function run(startNode: StartNode): Promise<void> {
  const told = readConfig((name) => process.env[name]);
  const { config, key } = told;
  const folder = process.env["FEDERATION_DATA"];
  if (!folder) throw new Error("the variable FEDERATION_DATA is not set: it names the folder of the node's database");
  mkdirSync(folder, { recursive: true });
  const state = openState(join(folder, "state.sqlite"));
  const background = new Set<Promise<unknown>>();
  const sockets = new WebSockets();
  const client = httpClient();

  const node = startNode({
    ...told,
    state,
    fetch: (request) => fetch(request),
    exchange: client.exchange,
    sign: signer(key),
    print: (lines) => void process.stdout.write(`${lines.join("\n")}\n`),
    waitUntil(work) {
      const tracked = work.catch((error: unknown) => console.error(error)).finally(() => background.delete(tracked));
      background.add(tracked);
    },
    upgrade: sockets.upgrade,
  });
  const server = await serve((request) => node.fetch(request), {
    hostname: process.env["HOST"] ?? "0.0.0.0",
    port: portOf(process.env["PORT"] ?? "8080"),
    origin: new URL(config.url).origin,
    posts: { path: "/mcp", post: node.postMcp },
    onError: (error) => console.error(error),
    sockets,
  });

  let stopping = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (stopping) return;
      stopping = true;
      void stop();
    });
  }

  async function stop(): Promise<void> {
    const deadline = Date.now() + graceMs;
    await server.close(graceMs);
    const late = new Promise((done) => setTimeout(done, Math.max(0, deadline - Date.now())));
    await Promise.race([Promise.all(background), late]);
    client.close();
    state.close();
    process.exit(0);
  }
}

/** Signs on this thread: WebCrypto hands each signature to another one, which costs as much again. */
function signer(jwk: PrivateJwk): (text: string) => Uint8Array {
  const { kty, crv, x, d } = jwk;
  let key: KeyObject | undefined;
  return (text) => {
    key ??= createPrivateKey({ key: { kty, crv, x, d }, format: "jwk" });
    return sign(null, Buffer.from(text), key);
  };
}

function portOf(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new Error(`the variable PORT is "${text}"; it must be a port number`);
  return port;
}
