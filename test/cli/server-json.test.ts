import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serverJson } from "../../cli/commands/server-json.ts";
import { serverCard } from "../../functions/node/protocol/discovery/server-card.ts";

const dir = mkdtempSync(join(tmpdir(), "server-json-"));
const root = { kty: "OKP", crv: "Ed25519", x: "x", kid: "k" } as const;
const cardOf = (url: string) => serverCard({ network: "prod", node: "acme/edge", url, root }) as any;
let server: Server;
let base: string;

beforeAll(async () => {
  server = createServer(({ url }, response) => {
    if (url === "/edge/mcp/server-card") response.end(JSON.stringify(cardOf(`${base}/edge`)));
    else response.writeHead(404).end("<html>");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const node = { organization: "acme", runtime: "workerd", provider: "cloudflare", functions: [] };
  const outputs = {
    network: "prod",
    nodes: { "acme/edge": { ...node, url: `${base}/edge` }, "acme/old": { ...node, url: `${base}/old` } },
    manifest: { serial: 1, digest: "sha256:0" },
    issuers: {},
  };
  for (const folder of ["bin", "stacks"]) mkdirSync(join(dir, folder));
  writeFileSync(join(dir, "Pulumi.yaml"), "name: t\n");
  writeFileSync(join(dir, "stacks", "Pulumi.local.yaml"), "config: {}\n");
  writeFileSync(join(dir, "outputs.json"), JSON.stringify(outputs));
  writeFileSync(join(dir, "bin", "pulumi"), `#!/bin/sh\nexec cat "${dir}/outputs.json"\n`);
  chmodSync(join(dir, "bin", "pulumi"), 0o755);
});
afterAll(() => {
  server.close();
  rmSync(dir, { recursive: true });
});

function federation(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const main = join(import.meta.dirname, "../../cli/main.ts");
  const env = {
    ...process.env,
    PATH: `${join(dir, "bin")}:${process.env["PATH"]}`,
    PULUMI_BACKEND_URL: "file:///nowhere",
  };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [main, "server-json", ...args], { cwd: dir, env }, (_, stdout, stderr) =>
      resolve({ code: child.exitCode!, stdout, stderr }),
    );
  });
}

describe("server-json", () => {
  test("keeps to the registry's rules", () => {
    const document = serverJson(cardOf("https://edge.acme.example/base"), "com.example/edge");
    expect(document).toEqual({
      $schema: "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
      name: "com.example/edge",
      title: "acme/edge",
      description: expect.stringMatching(/^.{1,100}$/),
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      remotes: [
        {
          type: "streamable-http",
          url: "https://edge.acme.example/base/mcp",
          headers: [expect.objectContaining({ name: "Authorization", isRequired: true, isSecret: true })],
        },
      ],
    });
  });

  test("prints the document of a deployed node, and warns of an address that nobody else can reach", async () => {
    const { code, stdout, stderr } = await federation("edge", "--name", "com.example/edge");
    expect([code, JSON.parse(stdout)]).toEqual([0, serverJson(cardOf(`${base}/edge`), "com.example/edge")]);
    expect(stderr).toContain("the registry takes public https URLs only");
    expect(JSON.parse((await federation("edge")).stdout).name).toBe("1.0.0.127/acme-edge");
  });

  test("says what is wrong", async () => {
    const [bad, old, none] = await Promise.all([federation("edge", "--name", "edge"), federation("old"), federation()]);
    expect([bad!.code, bad!.stderr]).toEqual([
      2,
      expect.stringContaining('--name is "edge"; it must be namespace/name'),
    ]);
    expect([old!.code, old!.stderr]).toEqual([1, expect.stringContaining("HTTP 404 without a server card")]);
    expect([none!.code, none!.stderr]).toEqual([2, expect.stringContaining("NODE missing")]);
  });
});
