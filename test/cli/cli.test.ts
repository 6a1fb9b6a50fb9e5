import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { calculateJwkThumbprint, createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } from "jose";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

const main = join(import.meta.dirname, "../../cli/main.ts");
const dir = mkdtempSync(join(tmpdir(), "cli-"));
const peersKey = "io.github.ai-federation/peers";

interface Seen {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: any;
}
let seen: Seen[];
/** What the node answers to a JSON-RPC request: a result, or a whole response. */
let answer: (body: any) => { result?: object; error?: object; status?: number; sse?: boolean; raw?: string };
let server: Server;
let base: string;
let keys: ReturnType<typeof createLocalJWKSet>;
let privateKey: string;

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const text = await new Response(request as unknown as ReadableStream).text();
    const path = request.url!;
    const body = text && JSON.parse(text);
    seen.push({ path, headers: request.headers, body });
    if (path === "/edge/health") return void response.end('{"status":"ok","serial":7}');
    if (path === "/data/health") return void response.end('{"status":"waiting","serial":6}');
    if (path.startsWith("/edge/audit")) {
      const page = path.includes("after=2")
        ? { records: [{ time: "t2", name: "b", ms: 3 }] }
        : { records: [{ time: "t1", name: "a" }], next: "2" };
      return void response.end(JSON.stringify(page));
    }
    if (path !== "/edge/mcp") return void response.writeHead(404).end("<html>");
    const { status = 200, sse, raw, ...reply } = answer(body);
    if (raw !== undefined) return void response.writeHead(status).end(raw);
    const message = JSON.stringify({ jsonrpc: "2.0", id: body.id, ...reply });
    if (!sse) return void response.writeHead(status, { "content-type": "application/json" }).end(message);
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(': hi\n\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n');
    response.end(`event: message\r\ndata: ${message}\r\n\r\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const pair = await generateKeyPair("EdDSA", { extractable: true });
  const jwk = await exportJWK(pair.privateKey);
  const kid = await calculateJwkThumbprint(jwk);
  keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(pair.publicKey)), kid }] });
  privateKey = jwk.d!;
  const node = { runtime: "workerd", provider: "cloudflare", functions: ["echo", "meeting-info"] };
  const issuer = (name: string, users: string[]) => ({
    issuer: `urn:${name}`,
    key: JSON.stringify({ ...jwk, kid }),
    users,
  });
  const outputs = {
    network: "local",
    nodes: {
      "acme/edge": { ...node, organization: "acme", url: `${base}/edge` },
      "acme/data": { ...node, organization: "acme", url: `${base}/data` },
      "globex/compute": { ...node, organization: "globex", url: "http://127.0.0.1:1/compute" },
    },
    manifest: { serial: 7, digest: "sha256:0" },
    issuers: { acme: issuer("acme", ["ada", "bob"]), globex: issuer("globex", ["grace"]) },
  };
  mkdirSync(join(dir, "bin"));
  mkdirSync(join(dir, "stacks"));
  writeFileSync(join(dir, "Pulumi.yaml"), "name: t\n");
  writeFileSync(join(dir, "stacks", "Pulumi.local.yaml"), "config: {}\n");
  writeFileSync(join(dir, "stacks", "Pulumi.away.yaml"), "config: {}\n");
  writeFileSync(join(dir, "outputs.json"), JSON.stringify(outputs));
  const { "acme/edge": edge, "globex/compute": compute } = outputs.nodes;
  const healthy = { ...outputs, nodes: { "acme/edge": edge, "globex/compute": { ...compute, url: `${base}/edge` } } };
  writeFileSync(join(dir, "healthy.json"), JSON.stringify(healthy));
  // In Pulumi's place: knows the stack `local`, notes how it was called, and salts the config file as Pulumi does.
  writeFileSync(
    join(dir, "bin", "pulumi"),
    `#!/bin/sh
echo "$*" >> "${dir}/calls"
case "$*" in
  *away*) echo "error: no stack named 'away' found" >&2; exit 255 ;;
  "stack output"*) cat "${dir}/\${FAKE_OUTPUTS:-outputs.json}" ;;
  "stack init"*) echo "error: stack 'organization/t/local' already exists" >&2; exit 255 ;;
  up*) echo "encryptionsalt: v1:x" >> stacks/Pulumi.local.yaml; echo "progress"; exit \${FAKE_UP_CODE:-0} ;;
esac
`,
  );
  chmodSync(join(dir, "bin", "pulumi"), 0o755);
});
afterAll(() => {
  server.close();
  rmSync(dir, { recursive: true });
});
beforeEach(() => {
  seen = [];
  rmSync(join(dir, "calls"), { force: true });
});

function federation(
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const path = `${join(dir, "bin")}:${process.env.PATH}`;
  return new Promise((resolve) => {
    const options = { cwd: dir, env: { ...process.env, PATH: path, PULUMI_BACKEND_URL: "file:///nowhere", ...env } };
    const child = execFile(process.execPath, [main, ...args], options, (_, stdout, stderr) =>
      resolve({ code: child.exitCode!, stdout, stderr }),
    );
  });
}

async function claimsOf({ headers }: Seen) {
  return (await jwtVerify(headers.authorization!.slice("Bearer ".length), keys, { typ: "at+jwt" })).payload;
}

test("a wrong call is exit code 2 and says what is right", async () => {
  const cases: [string[], RegExp][] = [
    [["bogus"], /there is no command "bogus"[^]*\n {2}up {6}/],
    [["constructor"], /there is no command "constructor"/],
    [["call", "acme/edge"], /call: TOOL missing; `federation call --help`/],
    [["status", "x"], /status: "x" is one argument too many/],
    [["tools", "--wrong"], /tools: Unknown option '--wrong'/],
    [["token", "--ttl", "2d"], /--ttl is "2d"; it must be a number with s, m or h, at most 24h/],
    [["cloud", "restart"], /cloud: "restart" is none of start, stop, status/],
    [["cloud", "start", "--port", "x"], /--port is "x"; it must be 1 to 65535/],
    [["call", "edge", "echo", "{text"], /ARGUMENTS is not JSON/],
    [["call", "edge", "echo", "[1]"], /ARGUMENTS must be a JSON object/],
  ];
  const answers = await Promise.all(cases.map(([args]) => federation(args)));
  answers.forEach(({ code, stdout, stderr }, at) => {
    expect([cases[at]![0], code, stdout]).toEqual([cases[at]![0], 2, ""]);
    expect(stderr).toMatch(cases[at]![1]);
  });
});

test("every command has help on stdout", async () => {
  const names = ["up", "status", "tools", "call", "token", "audit", "cloud", "down"];
  const answers = await Promise.all(names.map((name) => federation([name, "--help"])));
  answers.forEach(({ code, stdout }, at) => {
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^usage: federation ${names[at]}[ \\n]`));
    expect(stdout).toContain("--stack NAME");
  });
  expect((await federation(["--help"])).stdout).toContain("Exit codes: 0 done, 1 failed, 2 called in a wrong way.");
});

test("token opens all nodes of the user's organization, or those that are named", async () => {
  const { stdout } = await federation(["token"]);
  const { payload } = await jwtVerify(stdout.trim(), keys, { typ: "at+jwt", issuer: "urn:acme" });
  expect([payload.sub, payload.aud, payload.exp! - payload.iat!]).toEqual([
    "ada@acme",
    [`${base}/edge/mcp`, `${base}/data/mcp`],
    3600,
  ]);
  const other = JSON.parse(
    (await federation(["token", "--user", "grace@globex", "--node", "edge", "--ttl", "90s", "--json"])).stdout,
  );
  expect(other).toMatchObject({ user: "grace@globex", audience: [`${base}/edge/mcp`], expiresIn: 90 });
  expect((await jwtVerify(other.token, keys)).payload).toMatchObject({ sub: "grace@globex", iss: "urn:globex" });
});

test("users and nodes that are not there are named with those that are", async () => {
  expect(await federation(["token", "--user", "eve@acme"])).toEqual({
    code: 1,
    stdout: "",
    stderr: 'federation: there is no user "eve@acme"; users: ada@acme, bob@acme, grace@globex\n',
  });
  expect((await federation(["tools", "acme/none"])).stderr).toBe(
    'federation: there is no node "acme/none"; nodes: acme/edge, acme/data, globex/compute\n',
  );
  expect((await federation(["status", "--stack", "away"])).stderr).toMatch(
    /^federation: pulumi could not read the outputs of stack away: it is not deployed yet, run `npx federation up`/,
  );
});

test("status shows each node against the newest manifest and is exit code 1 when one is not ok", async () => {
  const { code, stdout } = await federation(["status"]);
  expect(code).toBe(1);
  const lines = stdout.trimEnd().split("\n");
  expect(lines[0]).toBe("network local, manifest 7");
  expect(lines.slice(2).map((line) => line.split(/ {2,}/))).toEqual([
    ["ORGANIZATION", "NODE", "PROVIDER", "RUNTIME", "URL", "FUNCTIONS", "STATE"],
    ["acme", "edge", "cloudflare", "workerd", `${base}/edge`, "echo, meeting-info", "ok"],
    ["acme", "data", "cloudflare", "workerd", `${base}/data`, "echo, meeting-info", "waiting (holds manifest 6 of 7)"],
    [
      "globex",
      "compute",
      "cloudflare",
      "workerd",
      "http://127.0.0.1:1/compute",
      "echo, meeting-info",
      expect.stringMatching(/^unreachable \(.+\)$/),
    ],
  ]);
  const { nodes } = JSON.parse((await federation(["status", "--json"])).stdout);
  expect(nodes.map(({ node, state }: { node: string; state: string }) => [node, state])).toEqual([
    ["acme/edge", "ok"],
    ["acme/data", "waiting"],
    ["globex/compute", "unreachable"],
  ]);
});

test("tools reads every page and warns of peers that did not answer", async () => {
  answer = ({ params }) =>
    params.cursor === "p2"
      ? {
          result: {
            resultType: "complete",
            tools: [{ name: "globex-compute.echo" }],
            _meta: {
              [peersKey]: [
                { node: "globex/compute", status: "ok" },
                { node: "acme/data", status: "failed", error: "timeout" },
              ],
            },
          },
        }
      : {
          result: {
            resultType: "complete",
            tools: [{ name: "echo", description: "Says it again.\nMore." }],
            nextCursor: "p2",
          },
        };
  const { code, stdout, stderr } = await federation(["tools", "edge", "--user", "bob@acme"]);
  expect([code, stdout]).toEqual([
    0,
    "TOOL                 DESCRIPTION\necho                 Says it again.\nglobex-compute.echo\n",
  ]);
  expect(stderr).toBe("warning: acme/data did not answer (failed): timeout\n");
  expect(await claimsOf(seen[0]!)).toMatchObject({ sub: "bob@acme", aud: [`${base}/edge/mcp`] });
});

test("call speaks the modern revision and prints text as it is", async () => {
  answer = () => ({
    result: {
      resultType: "complete",
      content: [
        { type: "text", text: "hé\n  llo" },
        { type: "image", data: "AA==" },
      ],
    },
    sse: true,
  });
  expect(await federation(["call", "edge", "globex-compute.écho", '{"text":"hé"}'])).toEqual({
    code: 0,
    stdout: 'hé\n  llo\n{"type":"image","data":"AA=="}\n',
    stderr: "",
  });
  const [{ headers, body }] = seen as [Seen];
  expect(headers).toMatchObject({
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": `=?base64?${Buffer.from("globex-compute.écho").toString("base64")}?=`,
    accept: "application/json, text/event-stream",
  });
  expect(body.params).toMatchObject({
    name: "globex-compute.écho",
    arguments: { text: "hé" },
    _meta: {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientCapabilities": {},
      "io.modelcontextprotocol/clientInfo": { name: "federation" },
    },
  });
});

test("a tool's error goes to stderr and is exit code 1", async () => {
  answer = () => ({ result: { content: [{ type: "text", text: "no such meeting" }], isError: true } });
  expect(await federation(["call", "edge", "get_meeting"])).toEqual({
    code: 1,
    stdout: "",
    stderr: "no such meeting\n",
  });
});

test("errors say what the node said, and never hold a token or a key", async () => {
  const cases: [ReturnType<typeof answer>, string][] = [
    [
      { error: { code: -32602, message: "Unknown tool: x" }, status: 400 },
      "federation: tools/call failed: Unknown tool: x (-32602)\n",
    ],
    [
      { raw: '{"error":"invalid_token","error_description":"the token is too old"}', status: 401 },
      `federation: ${base}/edge/mcp answered HTTP 401: the token is too old\n`,
    ],
    [{ raw: "<html>", status: 502 }, `federation: ${base}/edge/mcp answered HTTP 502 and no JSON\n`],
    [
      { result: { resultType: "input_required" } },
      "federation: tools/call asks for more (input_required), which this command cannot give: use an MCP client\n",
    ],
  ];
  for (const [reply, message] of cases) {
    answer = () => reply;
    expect(await federation(["call", "edge", "x"])).toEqual({ code: 1, stdout: "", stderr: message });
  }
  const gone = await federation(["call", "compute", "x"]);
  expect([gone.code, gone.stdout]).toEqual([1, ""]);
  expect(gone.stderr).toMatch(/^federation: http:\/\/127.0.0.1:1\/compute\/mcp cannot be reached \(.+\): is it up\?/);
  expect(gone.stderr).not.toMatch(/eyJ|Bearer/);
  expect(gone.stderr).not.toContain(privateKey);
});

test("audit reads every page", async () => {
  const { code, stdout } = await federation(["audit", "edge", "--json"]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual({
    records: [
      { time: "t1", name: "a" },
      { time: "t2", name: "b", ms: 3 },
    ],
  });
  expect((await federation(["audit"])).stdout).toMatch(/^TIME +DIRECTION +SUBJECT .*\nt1 +a\nt2 +b +3\n$/);
});

test("up shows Pulumi's progress, the nodes, and three commands; the config file stays as it was", async () => {
  answer = () => ({
    result: { tools: [{ name: "echo" }, { name: "acme-data.echo" }, { name: "globex-compute.echo" }] },
  });
  const { code, stdout } = await federation(["up"], { FAKE_OUTPUTS: "healthy.json" });
  expect(code).toBe(0);
  expect(stdout).toMatch(/^progress\n\nORGANIZATION /);
  expect(stdout).toContain(`\n  npx federation tools acme/edge\n`);
  expect(stdout).toContain(`\n  npx federation call acme/edge globex-compute.echo '{"text":"hello"}'\n`);
  expect(stdout).toContain(
    `\n  npx @modelcontextprotocol/inspector --cli ${base}/edge/mcp --transport http --header "Authorization: Bearer $(npx federation token)" --method tools/list\n`,
  );
  expect(stdout).not.toContain("eyJ");
  const calls = readFileSync(join(dir, "calls"), "utf8").trim().split("\n");
  expect(calls).toEqual([
    "stack init local --no-select --non-interactive",
    "up --yes --skip-preview --suppress-outputs --stack local",
    "stack output --json --show-secrets --stack local",
  ]);
  expect(readFileSync(join(dir, "stacks", "Pulumi.local.yaml"), "utf8")).toBe("config: {}\n");
});

test("nodes that are not in order after up are shown, as exit code 1", async () => {
  const { code, stdout } = await federation(["up"]);
  expect([code, stdout.trimEnd().split("\n").at(-1)]).toEqual([
    1,
    expect.stringMatching(/^globex .* unreachable \(.+\)$/),
  ]);
});

test("a failed pulumi up is exit code 1, and the config file stays as it was", async () => {
  const { code, stderr } = await federation(["up", "--json"], { FAKE_UP_CODE: "3" });
  expect(code).toBe(1);
  expect(stderr).toContain("federation: pulumi up ended with exit code 3; its own words are above\n");
  expect(readFileSync(join(dir, "stacks", "Pulumi.local.yaml"), "utf8")).toBe("config: {}\n");
});

test("a local cloud that does not run is exit code 1 for status, and nothing to stop", async () => {
  expect(await federation(["cloud", "status", "--json"])).toEqual({
    code: 1,
    stdout: '{"state":"stopped"}\n',
    stderr: "",
  });
  expect(await federation(["down"])).toEqual({ code: 0, stdout: "the local cloud does not run\n", stderr: "" });
});

test("outside a project the remedy is named", async () => {
  const { code, stderr } = await federation(["status", "--cwd", "/"]);
  expect([code, stderr]).toEqual([
    1,
    "federation: no Pulumi.yaml in / or above: go into the project, or name it with --cwd\n",
  ]);
});
