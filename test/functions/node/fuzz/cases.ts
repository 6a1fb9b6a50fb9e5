import fc from "fast-check";
import { jsonText, mostly, objectText, words } from "./json-text.ts";
import { type Mutation, mutations } from "./mutation.ts";

/** One thing that somebody does to a node. Plain data, so that a found case can be kept as a test. */
export type Case =
  | {
      readonly kind: "http";
      readonly method: string;
      readonly path: string;
      readonly headers: Headers;
      readonly body: string;
      readonly token: TokenOf;
    }
  | {
      readonly kind: "rpc";
      readonly by: "fetch" | "post";
      readonly headers: Headers;
      readonly body: string;
      readonly token: TokenOf;
    }
  | { readonly kind: "token"; readonly of: Exclude<TokenOf, "none">; readonly mutation: Mutation }
  | { readonly kind: "manifest"; readonly of: "held" | "newer"; readonly mutation: Mutation }
  | {
      readonly kind: "peer";
      readonly ask: Ask;
      readonly status: number;
      readonly type: string;
      readonly body: string;
      readonly cuts: readonly number[];
    };

export type TokenOf = "ada" | "grace" | "peer" | "none";
export type Ask =
  | "tools/list"
  | "resources/list"
  | "resources/templates/list"
  | "prompts/list"
  | "tools/call"
  | "resources/read"
  | "prompts/get";
type Headers = Readonly<Record<string, string>>;

const asks: readonly Ask[] = [
  "tools/list",
  "resources/list",
  "resources/templates/list",
  "prompts/list",
  "tools/call",
  "resources/read",
  "prompts/get",
];
const methods = [
  ...asks,
  "initialize",
  "ping",
  "server/discover",
  "notifications/initialized",
  "notifications/cancelled",
  "completion/complete",
  "logging/setLevel",
  "nope",
  "__proto__",
];
const names = [
  "open",
  "closed",
  "ask",
  "globex-compute.open",
  "globex-compute.closed",
  "vault://one",
  "vault://many/%E0",
  "globex-compute+vault://one",
  ".",
  "a.",
  "+",
  "=?base64?b3Blbg==?=",
  "=?base64?/w==?=",
  "__proto__",
];
const versions = ["2026-07-28", "2025-11-25", "2025-06-18", "2024-11-05", "1", ""];

const token = fc.constantFrom<TokenOf>("ada", "ada", "grace", "grace", "peer", "none");
const headerValue = fc.oneof(
  fc.constantFrom(...methods, ...names, ...versions),
  fc.string({ maxLength: 30 }).map(visible),
);

const httpCase: fc.Arbitrary<Case> = fc.record({
  kind: fc.constant("http"),
  method: fc.constantFrom("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "PROPFIND"),
  path: fc.oneof(
    fc.constantFrom(
      "/mcp",
      "/",
      "/health",
      "/audit",
      "/audit?limit=0",
      "/audit?limit=1e9",
      "/audit?after=x",
      "/audit?limit=5&after=0000000000000000",
    ),
    fc.constantFrom(
      "/.well-known/federation",
      "/.well-known/federation/manifest",
      "/.well-known/oauth-protected-resource",
      "//mcp",
      "/mcp/",
      "/mcp?x=1",
      "/%00",
      "/__proto__",
    ),
    fc.constantFrom(
      "/openapi.json",
      "/api/tools",
      "/api/tools/open",
      "/api/tools/closed",
      "/api/tools/closed/inputs",
      "/api/prompts/ask",
      "/api/resources",
    ),
    fc.constantFrom(
      "/api/resources/vault%3A%2F%2Fone",
      "/api/tools/globex-compute.open",
      "/api/tools/%E0",
      "/api/__proto__",
      "/api/tools/open/x",
      "/ws",
      "/mcp/ws",
    ),
    fc.webPath(),
  ),
  headers: fc.dictionary(
    fc.constantFrom(
      "content-type",
      "accept",
      "origin",
      "host",
      "content-length",
      "mcp-session-id",
      "last-event-id",
      "mcp-protocol-version",
      "range",
      "transfer-encoding",
      "x-forwarded-for",
      "authorization",
    ),
    fc.oneof(
      headerValue,
      fc.constantFrom(
        "application/json",
        "text/event-stream",
        "*/*",
        "http://evil.test",
        "null",
        "-1",
        "Bearer x",
        "Bearer a.b.c",
      ),
    ),
  ),
  body: fc.oneof(
    fc.constantFrom("", "{}", '{"arguments":{}}'),
    fc.string({ unit: "binary", maxLength: 200 }),
    jsonText,
  ),
  token,
});

/** `$method`, `$name` and `$version` stand for what the headers say, where those tell the truth. */
const meta = objectText(jsonText, {
  "io.modelcontextprotocol/protocolVersion": mostly(words("$version")),
  "io.modelcontextprotocol/clientCapabilities": mostly(words({}, { sampling: {}, elicitation: {} })),
});
const params = objectText(jsonText, {
  name: mostly(words("$name")),
  uri: mostly(words("$name")),
  arguments: mostly(words({}, { who: "me" })),
  _meta: mostly(fc.oneof(meta, meta, meta, words({}, { progressToken: 1 }))),
});
const message = objectText(jsonText, {
  jsonrpc: mostly(words("2.0")),
  id: mostly(words(1, "a", 0)),
  method: mostly(words("$method")),
  params: mostly(params),
});
const rpcCase: fc.Arbitrary<Case> = fc
  .record({
    method: fc.oneof(fc.constant("tools/call"), fc.constantFrom(...asks), fc.constantFrom(...methods)),
    name: fc.oneof(fc.constantFrom("open", "closed", "vault://one"), fc.constantFrom(...names)),
    version: fc.oneof(
      { weight: 3, arbitrary: fc.constant("2026-07-28") },
      { weight: 1, arbitrary: fc.constantFrom(...versions) },
    ),
    lies: fc.record({
      method: rarely(fc.constantFrom(...methods)),
      name: rarely(headerValue),
      version: rarely(fc.constantFrom(...versions)),
    }),
    by: fc.constantFrom("fetch" as const, "post" as const),
    headless: fc.integer({ min: 0, max: 4 }).map((n) => n === 4),
    accept: fc.constantFrom(
      "application/json, text/event-stream",
      "application/json, text/event-stream",
      "application/json",
      "*/*",
    ),
    body: fc.oneof(
      { weight: 20, arbitrary: message },
      { weight: 1, arbitrary: fc.array(message, { maxLength: 3 }).map((batch) => `[${batch.join(",")}]`) },
      { weight: 1, arbitrary: jsonText },
    ),
    token,
  })
  .map(({ method, name, version, lies, by, headless, accept, body, token }) => ({
    kind: "rpc",
    by,
    headers: {
      accept,
      "content-type": "application/json",
      "mcp-protocol-version": lies.version ?? version,
      ...(!headless && { "mcp-method": lies.method ?? method, "mcp-name": lies.name ?? name }),
    },
    body: body.replaceAll("$method", method).replaceAll("$name", name).replaceAll("$version", version),
    token,
  }));

const listed = fc
  .array(
    objectText(jsonText, {
      name: mostly(words("open", "a", "b c", "x".repeat(200))),
      uri: mostly(words("vault://one", "x")),
      uriTemplate: jsonText,
      annotations: jsonText,
      inputSchema: jsonText,
    }),
    { maxLength: 3 },
  )
  .map((entries) => `[${entries.join(",")}]`);
const blocks = fc
  .array(
    objectText(jsonText, {
      type: mostly(words("text", "resource_link", "resource", "image")),
      text: jsonText,
      uri: jsonText,
      resource: jsonText,
    }),
    { maxLength: 3 },
  )
  .map((entries) => `[${entries.join(",")}]`);
const peerResult = objectText(jsonText, {
  tools: mostly(listed),
  resources: mostly(listed),
  resourceTemplates: mostly(listed),
  prompts: mostly(listed),
  content: mostly(blocks),
  contents: mostly(blocks),
  messages: mostly(objectText(jsonText, { role: words("user"), content: mostly(blocks) }).map((one) => `[${one}]`)),
  _meta: mostly(objectText(jsonText)),
  resultType: mostly(words("complete", "complete", "complete", "input_required", "task")),
});
const peerAnswer = objectText(jsonText, {
  jsonrpc: mostly(words("2.0")),
  // The request's own id is put in its place.
  id: mostly(words("$id")),
  result: mostly(peerResult),
});
const peerError = objectText(jsonText, {
  jsonrpc: mostly(words("2.0")),
  id: mostly(words("$id", null)),
  error: mostly(
    objectText(jsonText, {
      code: mostly(words(-32602, -32603, -32000, 429)),
      message: mostly(words("no", "at f (/srv/x)")),
      data: jsonText,
    }),
  ),
});
const peerCase: fc.Arbitrary<Case> = fc.record({
  kind: fc.constant("peer"),
  ask: fc.constantFrom(...asks),
  status: fc.oneof(
    { weight: 9, arbitrary: fc.constant(200) },
    { weight: 2, arbitrary: fc.constantFrom(201, 204, 302, 400, 401, 404, 429, 500, 503) },
  ),
  type: fc.constantFrom(
    "application/json",
    "application/json",
    "application/json",
    "text/event-stream",
    "text/event-stream; charset=utf-8",
    "text/html",
    "",
  ),
  body: fc.oneof(
    { weight: 12, arbitrary: peerAnswer },
    { weight: 3, arbitrary: peerError },
    { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 100 }) },
    { weight: 1, arbitrary: jsonText },
  ),
  cuts: fc.array(fc.nat(400), { maxLength: 4 }),
});

const tokenCase: fc.Arbitrary<Case> = fc.record({
  kind: fc.constant("token"),
  of: fc.constantFrom("ada", "grace", "peer"),
  mutation: mutations,
});
const manifestCase: fc.Arbitrary<Case> = fc.record({
  kind: fc.constant("manifest"),
  of: fc.constantFrom("held", "newer"),
  mutation: mutations,
});

export const cases: fc.Arbitrary<Case> = fc.oneof(
  { weight: 2, arbitrary: httpCase },
  { weight: 5, arbitrary: rpcCase },
  { weight: 2, arbitrary: tokenCase },
  { weight: 1, arbitrary: manifestCase },
  { weight: 5, arbitrary: peerCase },
);

function rarely<T>(lie: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.oneof({ weight: 8, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: lie });
}

/** As a header can carry it. */
function visible(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").trim();
}
