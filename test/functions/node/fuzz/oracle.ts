import { servePost } from "../../../../functions/node/platform.ts";
import type { Ask, Case } from "./cases.ts";
import { mutate } from "./mutation.ts";
import type { World } from "./world.ts";

/** Milliseconds that one case may take: the node's own deadlines in this world are below half a second. */
const perCase = 4_000;
const stack = /\bat [^\n"]{0,80}\(?[/\w.]+\.(ts|js|mjs):\d+|node_modules|"stack"/;

/** Runs one case on a fresh node. Throws an error that says which promise the node broke. */
export async function check(world: World, given: Case): Promise<void> {
  const node = world.node();
  world.takeRuns();
  world.takeLog();
  const request = await requestOf(world, given);
  if (!request) return;
  const before = await world.serial(node);
  const posted =
    given.kind === "rpc" && given.by === "post"
      ? await within(servePost(node, "/mcp", request), "no response")
      : undefined;
  const answer = posted ? Promise.resolve(posted) : node.fetch(request);
  const answered = await within(readAll(await within(answer, "no response"), request), "no end of the body");
  const { status, text, streaming } = answered;
  const told = (fault: string) => new Error(`${fault}: HTTP ${status} ${text.slice(0, 500)}`);

  if (status >= 500 && status !== 503) throw told("a fault of the node");
  if (stack.test(text)) throw told("a stack or a path left the node");
  const crash = world.takeLog().find((line) => line.includes("a request failed") || line.includes("a function failed"));
  if (crash !== undefined) throw told(`the node logged a fault of its own: ${crash.slice(0, 1_000)}`);
  await new Promise((done) => setImmediate(done));
  const unhandled = world.takeUnhandled();
  if (unhandled.length > 0) throw told(`a rejection that nobody handled: ${unhandled.join("; ")}`);
  if (await polluted()) throw told("a prototype was changed");

  const runs = world.takeRuns();
  for (const { tool, subject } of runs)
    if (tool === "closed" && subject !== "ada@acme") throw told(`closed ran for ${subject}`);
  switch (given.kind) {
    case "token":
      if (status !== 401 && status !== 403) throw told("a changed token was accepted");
      if (runs.length > 0) throw told("a changed token ran a tool");
      break;
    case "manifest":
      if (status < 400) throw told("a changed manifest was accepted");
      if ((await world.serial(node)) !== before) throw told("a changed manifest is held");
      break;
    case "rpc":
      if (given.token === "none" && status !== 401) throw told("let in without a token");
      if (runs.length > 0) checkHeaders(given.headers, given.body, told);
      break;
    case "peer":
      if (!streaming) checkAnswer(text, given.ask, told);
      break;
    case "http":
      break;
  }
}

/** What a header names is what may run, in whatever era; a modern request must have the header. */
function checkHeaders(headers: Readonly<Record<string, string>>, body: string, told: (fault: string) => Error): void {
  const { params } = JSON.parse(body) as { params?: { name?: string; _meta?: object } };
  const modern = Object.hasOwn(params?._meta ?? {}, "io.modelcontextprotocol/protocolVersion");
  const named = headers["mcp-name"]?.replace(/^=\?base64\?(.*)\?=$/, (_, text: string) =>
    Buffer.from(text, "base64").toString(),
  );
  if ((modern || named !== undefined) && named !== params?.name)
    throw told(`the header names ${named} and ${params?.name} ran`);
}

/** Whatever the peer says, the caller gets one JSON-RPC response to its request; a list has the node's own part. */
function checkAnswer(text: string, ask: Ask, told: (fault: string) => Error): void {
  const message = JSON.parse(text) as {
    jsonrpc?: unknown;
    id?: unknown;
    result?: Record<string, unknown>;
    error?: { code?: unknown; message?: unknown };
  };
  if (message.jsonrpc !== "2.0" || message.id !== 1) throw told("not a response to the request");
  if (message.error) {
    if (ask.endsWith("/list")) throw told("a peer broke a list");
    if (!Number.isSafeInteger(message.error.code) || typeof message.error.message !== "string")
      throw told("a malformed error");
  } else if (!message.result) throw told("neither result nor error");
  else if (ask === "tools/list" && !text.includes('"closed"')) throw told("the node's own tools are missing");
}

async function requestOf(world: World, given: Case): Promise<Request | undefined> {
  const authorization = async (
    of: "ada" | "grace" | "peer" | "none",
    scope?: string,
  ): Promise<Record<string, string>> =>
    of === "none" ? {} : { authorization: `Bearer ${await world.token(of, scope)}` };
  switch (given.kind) {
    case "http": {
      const { method, path, headers, body } = given;
      const all = { ...(await authorization(given.token)), ...headers };
      const withBody = method !== "GET" && method !== "HEAD";
      return new Request(new URL(`http://acme.test${path}`), { method, headers: all, ...(withBody && { body }) });
    }
    case "rpc": {
      // The peer's token is minted for what the body seems to ask, so that some of them open the door.
      const method = /"method":"([^"]*)"/.exec(given.body)?.[1] ?? "tools/list";
      const subject = new RegExp(method === "resources/read" ? '"uri":"([^"]*)"' : '"name":"([^"]*)"').exec(
        given.body,
      )?.[1];
      const scope = method.endsWith("/list") ? method : `${method} ${subject}`;
      const length = String(Buffer.byteLength(given.body));
      return post(
        { ...(await authorization(given.token, scope)), ...given.headers, "content-length": length },
        given.body,
      );
    }
    case "token": {
      const changed = mutate(await world.token(given.of), given.mutation);
      // A header cannot carry every text; what it cannot carry never reaches a node.
      if (changed === undefined || !/^[\x21-\x7e]+$/.test(changed)) return undefined;
      return post(
        { ...modern("tools/call", "open"), authorization: `Bearer ${changed}` },
        question("tools/call", "open"),
      );
    }
    case "manifest": {
      const body = mutate(world.manifests[given.of], given.mutation);
      if (body === undefined) return undefined;
      return new Request("http://acme.test/.well-known/federation", { method: "PUT", body });
    }
    case "peer": {
      world.answerAsPeer(async (asked) => await peerResponse(asked, given));
      const name =
        given.ask === "resources/read"
          ? "globex-compute+vault://one"
          : given.ask === "prompts/get"
            ? "globex-compute.ask"
            : "globex-compute.open";
      const subject = given.ask.endsWith("/list") ? undefined : name;
      return post({ ...modern(given.ask, subject), ...(await authorization("ada")) }, question(given.ask, subject));
    }
  }
}

async function peerResponse(asked: Request, { status, type, body, cuts }: Case & { kind: "peer" }): Promise<Response> {
  if (asked.method !== "POST") return new Response(null, { status: 404 });
  const { id } = (await asked.json()) as { id: string };
  const said = body.replaceAll('"$id"', JSON.stringify(id));
  const bytes = new TextEncoder().encode(type.startsWith("text/event-stream") ? `: hi\r\n\r\ndata: ${said}\n\n` : said);
  const at = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).toSorted((a, b) => a - b), bytes.length];
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const [n, from] of at.slice(0, -1).entries()) controller.enqueue(bytes.slice(from, at[n + 1]));
      controller.close();
    },
  });
  return new Response([204, 304].includes(status) ? null : stream, {
    status,
    headers: type ? { "content-type": type } : {},
  });
}

function post(headers: Readonly<Record<string, string>>, body: string): Request {
  return new Request("http://acme.test/mcp", { method: "POST", headers, body });
}

function modern(method: string, name?: string): Record<string, string> {
  return {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": method,
    ...(name !== undefined && { "mcp-name": name }),
  };
}

function question(method: string, name?: string): string {
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const subject = name === undefined ? {} : { [method === "resources/read" ? "uri" : "name"]: name };
  return JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...subject, _meta } });
}

/** The whole body; of a stream that stays open (a subscription, a `GET`) what comes at once. */
async function readAll(
  response: Response,
  request: Request,
): Promise<{ status: number; text: string; streaming: boolean }> {
  const { status } = response;
  const streaming = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  if (!streaming || !response.body) return { status, text: await response.text(), streaming };
  const reader = response.body.getReader();
  let text = "";
  const ended = (async () => {
    for (let part = await reader.read(); !part.done; part = await reader.read())
      text += new TextDecoder().decode(part.value);
  })();
  await Promise.race([ended, new Promise((done) => setTimeout(done, request.method === "GET" ? 20 : 1_000))]);
  await reader.cancel();
  return { status, text, streaming };
}

async function within<T>(work: Promise<T>, fault: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${fault} within ${perCase} ms`)), perCase);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function polluted(): Promise<boolean> {
  return (
    Object.keys(Object.prototype).length > 0 || Object.keys({}).length > 0 || ({} as { a?: unknown }).a !== undefined
  );
}
