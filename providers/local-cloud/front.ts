import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Readable, type Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Emulator } from "./emulator.ts";
import { createProxy, type Locate } from "./proxy.ts";
import type { RuntimeStatus, Supervisor } from "./supervisor.ts";

/** A provider as the front serves it. */
export interface FrontProvider {
  /** Pending while its emulator brings up what was deployed before. */
  readonly emulator: Promise<Emulator>;
  readonly runtimes: Supervisor;
  /** Bearer token of its control plane. */
  readonly token: string;
}

export interface FrontOptions {
  readonly providers: Readonly<Record<string, FrontProvider>>;
  /** Shown by `GET /`, so that a stranger on the port can be told from this local cloud. */
  readonly dir: string;
  log(line: string): void;
  /** Milliseconds a request waits for a runtime that is being started; 10,000 when absent. */
  readonly waitMs?: number;
}

/** Answer of `GET /`. */
export interface LocalCloudStatus {
  readonly name: "ai-federation local cloud";
  /** `ready` once every emulator has brought up what was deployed before. */
  readonly state: "starting" | "ready";
  readonly pid: number;
  readonly dir: string;
  /** RFC 3339. */
  readonly started: string;
  readonly providers: Readonly<Record<string, { readonly runtimes: readonly RuntimeStatus[] }>>;
}

/** Answer of `GET /requests`: requests with the control plane's token since the start, by provider and method. Nodes' own traffic is not in it. */
export type RequestCounts = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** The HTTP server of the local cloud; not listening yet. */
export function createFront({ providers, dir, log, waitMs = 10_000 }: FrontOptions): Server {
  const started = new Date().toISOString();
  const counts: Record<string, Record<string, number>> = Object.fromEntries(
    Object.keys(providers).map((name) => [name, {}]),
  );
  const proxy = createProxy(refuse);
  let ready = false;
  void Promise.all(Object.values(providers).map(({ emulator }) => emulator)).then(
    () => void (ready = true),
    () => undefined, // whoever started the emulators reports it
  );

  const server = createServer(
    { keepAliveTimeout: 65_000, shouldUpgradeCallback: isWebSocket },
    (incoming, outgoing) => {
      void serve(incoming, outgoing).catch((error: unknown) => fail(incoming, outgoing, error));
    },
  );
  server.on("upgrade", (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
    void serveUpgrade(incoming, socket, head).catch((error: unknown) => {
      log(`${incoming.method} ${incoming.url?.split("?")[0]} failed: ${(error as Error).stack}`);
      socket.destroy();
    });
  });
  server.once("close", proxy.close);
  return server;

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    if (!isLoopback(incoming.headers.host))
      return refuse(outgoing, 403, "the Host header must be 127.0.0.1, localhost or [::1]");
    const url = incoming.url!;
    if (url === "/" && incoming.method === "GET") return answer(outgoing, 200, status());
    if (url === "/requests" && incoming.method === "GET") return answer(outgoing, 200, counts);
    const found = find(url);
    if (!found) return refuse(outgoing, 404, `nothing is at ${url.split("?")[0]}: paths start with ${prefixes()}`);
    const { name, provider, path } = found;
    const emulator = await inTime(provider.emulator);
    if (outgoing.destroyed) return;
    if (!emulator) return refuse(outgoing, 503, `${name} is still starting`);
    const route = emulator.route(path);
    if (route) return proxy.forward(route, locate(provider), incoming, outgoing);
    if (incoming.headers.authorization === `Bearer ${provider.token}`) {
      const methods = counts[name]!;
      methods[incoming.method!] = (methods[incoming.method!] ?? 0) + 1;
    }
    await handle(emulator, path, incoming, outgoing);
  }

  async function serveUpgrade(incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const found = isLoopback(incoming.headers.host) ? find(incoming.url!) : undefined;
    const emulator = found && (await inTime(found.provider.emulator));
    const route = emulator?.route(found!.path);
    if (route) return proxy.upgrade(route, locate(found!.provider), incoming, socket, head);
    socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  }

  function find(url: string): { name: string; provider: FrontProvider; path: string } | undefined {
    const [, name, rest] = /^\/([^/?]+)(.*)$/s.exec(url) ?? [];
    if (name === undefined || !Object.hasOwn(providers, name)) return undefined;
    return { name, provider: providers[name]!, path: rest!.startsWith("/") ? rest! : `/${rest}` };
  }

  function locate({ runtimes }: FrontProvider): Locate {
    return (runtime) => runtimes.serving(runtime, waitMs);
  }

  async function inTime(emulator: Promise<Emulator>): Promise<Emulator | undefined> {
    if (ready) return emulator;
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(late.resolve, waitMs, undefined);
    try {
      return await Promise.race([emulator, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  function status(): LocalCloudStatus {
    const running = Object.entries(providers).map(([name, { runtimes }]) => [name, { runtimes: runtimes.list() }]);
    const state = ready ? "ready" : "starting";
    return {
      name: "ai-federation local cloud",
      state,
      pid: process.pid,
      dir,
      started,
      providers: Object.fromEntries(running),
    };
  }

  function prefixes(): string {
    return Object.keys(providers)
      .map((name) => `/${name}/`)
      .join(", ");
  }

  function fail(incoming: IncomingMessage, outgoing: ServerResponse, error: unknown): void {
    log(`${incoming.method} ${incoming.url?.split("?")[0]} failed: ${(error as Error).stack}`);
    if (outgoing.headersSent) outgoing.destroy();
    else refuse(outgoing, 500, "the local cloud has a fault; its log says more");
  }
}

/** Gives a request to an emulator in Web terms and streams its answer back. */
async function handle(
  emulator: Emulator,
  path: string,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const aborted = new AbortController();
  outgoing.once("close", () => aborted.abort());
  const headers = new Headers();
  for (let i = 0; i < incoming.rawHeaders.length; i += 2)
    headers.append(incoming.rawHeaders[i]!, incoming.rawHeaders[i + 1]!);
  const bodyless = incoming.method === "GET" || incoming.method === "HEAD";
  const request = new Request(`http://${incoming.headers.host}${path}`, {
    method: incoming.method!,
    headers,
    signal: aborted.signal,
    ...(bodyless ? {} : { body: Readable.toWeb(incoming), duplex: "half" }),
  } as RequestInit);
  const response = await emulator.handle(request);
  if (outgoing.destroyed) return;
  outgoing.writeHead(response.status, response.statusText, [...response.headers].flat());
  if (!response.body) return void outgoing.end();
  try {
    await pipeline(Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]), outgoing);
  } catch (error) {
    if (!aborted.signal.aborted) throw error; // the client went away: nobody is left to tell
  }
}

function answer(outgoing: ServerResponse, status: number, value: unknown): void {
  const text = `${JSON.stringify(value)}\n`;
  outgoing.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
  });
  outgoing.end(outgoing.req.method === "HEAD" ? undefined : text);
}

function refuse(outgoing: ServerResponse, status: number, message: string): void {
  if (status === 503) outgoing.setHeader("retry-after", "1");
  answer(outgoing, status, { error: message });
}

/** A page of another site can point its own name at 127.0.0.1 (DNS rebinding); the Host header then still holds that name. */
function isLoopback(host: string | undefined): boolean {
  return /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/i.test(host ?? "");
}

function isWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === "websocket";
}
