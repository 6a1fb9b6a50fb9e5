import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { managementApi } from "../../../providers/supabase/api.ts";
import { projectRef, SupabaseCloud } from "./cloud.ts";
import { ApiDocument, missing, recordingFile } from "./document.ts";

interface Recorded {
  readonly method: string;
  readonly url: string;
  readonly status: number;
  readonly ct?: string;
  readonly body?: string;
  readonly parts?: readonly { name: string; filename?: string; type?: string; head?: string; text?: string }[];
}

describe.skipIf(missing)("the emulator and the document of the Management API", () => {
  const cloud = new SupabaseCloud();
  let document: ApiDocument;

  beforeAll(() => {
    document = new ApiDocument();
    return cloud.start();
  });
  afterAll(() => cloud.remove());
  afterEach(() => vi.unstubAllGlobals());

  /** Sends a request; fails on anything that the document does not have. */
  async function exchange(request: Request, send = fetch): Promise<Response> {
    const copy = request.clone();
    const response = await send(request);
    expect(await document.check(copy, response.clone())).toEqual([]);
    return response;
  }

  test("answers all that the Supabase CLI 3.1.0 was recorded to send", async () => {
    const recorded = readFileSync(recordingFile, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Recorded)
      .filter(({ method }) => method);
    expect(recorded).toHaveLength(12);
    /** Answers of deploy calls: the CLI sends them back in the bulk update. */
    const bundled = new Map<string, object>();
    for (const { method, url, status, ct, body, parts } of recorded) {
      const headers: Record<string, string> = { authorization: `Bearer ${cloud.token}` };
      let sent: BodyInit | undefined;
      if (parts) sent = form(parts);
      else if (body && method === "PUT")
        sent = JSON.stringify((JSON.parse(body) as { slug: string }[]).map(({ slug }) => bundled.get(slug)));
      else sent = body;
      if (sent !== undefined && !parts) headers["content-type"] = ct!;
      const response = await exchange(new Request(cloud.url + url, { method, headers, body: sent ?? null }));
      expect([method, url, response.status], await response.clone().text()).toEqual([method, url, status]);
      if (parts) {
        const answer = (await response.json()) as { slug: string };
        bundled.set(answer.slug, answer);
      }
    }
    expect(await (await fetch(`${cloud.functionUrl("hello")}/x`, { headers: await anonymous() })).json()).toEqual({
      x: 1,
      url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/hello\/x$/),
    });
    const secrets = (await (await cloud.manage("GET", "/secrets")).json()) as { name: string; value: string }[];
    // printf two | sha256sum
    expect(secrets.map(({ name, value }) => [name, value])).toEqual([
      ["B", "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"],
    ]);
  });

  test("the toolkit's own client sends and gets nothing that is not in the document", async () => {
    const plain = globalThis.fetch;
    vi.stubGlobal("fetch", (input: string, init?: RequestInit) => exchange(new Request(input, init), plain));
    vi.stubEnv("SUPABASE_ACCESS_TOKEN", cloud.token);
    const api = managementApi({ api: cloud.url, projectRef }, AbortSignal.timeout(30_000));
    const before = document.seen.length;
    const code = new TextEncoder().encode('Deno.serve(() => new Response("own"));');
    await api.setSecrets({ OWN: "value" });
    const deployed = await api.deployFunction({ slug: "own", code, verifyJwt: false });
    expect(deployed).toMatchObject({ slug: "own", version: 1, verify_jwt: false });
    expect(await api.getFunction("own")).toEqual(deployed);
    expect((await api.secretDigests()).has("OWN")).toBe(true);
    await api.deleteSecrets(["OWN", "NEVER"]);
    await api.deleteFunction("own");
    await api.deleteFunction("own");
    expect(await api.getFunction("own")).toBeUndefined();
    expect(await api.query("select 1 as one")).toEqual([{ one: 1 }]);
    expect(document.seen.length - before).toBe(9);
    vi.unstubAllEnvs();
  });

  test("the answers of the deprecated single-source calls, of PATCH and of the key list are in it too", async () => {
    const send = (method: string, path: string, body?: object) =>
      exchange(
        new Request(`${cloud.url}/v1/projects/${projectRef}${path}`, {
          method,
          headers: { authorization: `Bearer ${cloud.token}`, ...(body && { "content-type": "application/json" }) },
          body: body ? JSON.stringify(body) : null,
        }),
      );
    const body = "Deno.serve(() => new Response('one'))";
    expect((await send("POST", "/functions", { slug: "one", name: "One", body, verify_jwt: false })).status).toBe(201);
    expect(await (await fetch(cloud.functionUrl("one"))).text()).toBe("one");
    const patched = await (await send("PATCH", "/functions/one", { name: "Uno", verify_jwt: true })).json();
    expect(patched).toMatchObject({ name: "Uno", verify_jwt: true, version: 2 });
    expect((await fetch(cloud.functionUrl("one"))).status).toBe(401);
    expect((await send("GET", "/api-keys?reveal=true")).status).toBe(200);
    const sources = await (await cloud.manage("GET", "/functions/one/body")).formData();
    expect(await (sources.get("file") as File).text()).toBe(body);
  });

  test("the check itself finds what is wrong", async () => {
    const url = `${cloud.url}/v1/projects/${projectRef}`;
    const init = { method: "POST", headers: { "content-type": "application/json" } };
    const secret = new Request(`${url}/secrets?x=1`, { ...init, body: '[{"name":"SUPABASE_A"}]' });
    expect(await document.check(secret, new Response("", { status: 418 }))).toEqual([
      "POST /v1/projects/{ref}/secrets 418: query parameter x is not in the document",
      "POST /v1/projects/{ref}/secrets 418: body/0 must have required property 'value'",
      'POST /v1/projects/{ref}/secrets 418: body/0/name must match pattern "^(?!SUPABASE_).*"',
      "POST /v1/projects/{ref}/secrets 418: status is not in the document",
    ]);
    const answer = Response.json({
      id: 1,
      slug: "a",
      name: "a",
      status: "LOST",
      version: 1,
      created_at: 1,
      updated_at: 1,
    });
    expect(await document.check(new Request(`${url}/functions/a`), answer)).toEqual([
      "GET /v1/projects/{ref}/functions/{function_slug} 200: answer/id must be string",
      "GET /v1/projects/{ref}/functions/{function_slug} 200: answer/status must be equal to one of the allowed values",
    ]);
    expect(await document.check(new Request(`${url}/nothing`), new Response())).toEqual([
      "GET /v1/projects/{ref}/nothing is not in the document",
    ]);
  });

  async function anonymous(): Promise<Record<string, string>> {
    return { authorization: `Bearer ${await cloud.key("legacy", "anon")}` };
  }
});

/** The recorded function imports `hono` from npm, which this machine may not reach: its import map leads to a file instead. */
function form(parts: NonNullable<Recorded["parts"]>): FormData {
  const made = new FormData();
  for (const { name, filename, type, head = "", text } of parts) {
    if (filename === undefined) made.append(name, text!);
    else made.append(name, new File([head.replace("npm:hono@4", "./hono.ts")], filename, { type: type! }));
    if (filename?.endsWith("deno.json"))
      made.append("file", new File(["export class Hono {}"], filename.replace("deno.json", "hono.ts")));
  }
  return made;
}
