import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import Cloudflare from "cloudflare";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  account,
  compatibilityDate,
  bundleNode,
  deployNode,
  expectOk,
  nodeBindings,
  nodeVersion,
  startTestCloud,
} from "./local.ts";
import type { TestCloud } from "./local.ts";

const scripts = `/accounts/${account}/workers/scripts`;
const workers = `/accounts/${account}/workers/workers`;
const sqlite = { NodeState: { type: "durable-object", storage: "sqlite" } };
const counter = `({ state, config }) => ({
  postMcp(posted) { return this.fetch(posted.toRequest()); },
  async fetch(request) {
    const url = new URL(request.url);
    if (request.headers.get("upgrade") === "websocket") {
      const [client, server] = Object.values(new WebSocketPair());
      server.accept();
      server.addEventListener("message", (event) => server.send("echo " + event.data));
      return new Response(null, { status: 101, webSocket: client });
    }
    if (url.pathname === "/stream") {
      const { readable, writable } = new TransformStream();
      const writer = writable.getWriter();
      const write = async () => {
        for (const part of ["one ", "two ", "three"]) {
          await writer.write(new TextEncoder().encode(part));
          await scheduler.wait(50);
        }
        await writer.close();
      };
      write();
      return new Response(readable);
    }
    const entry = await state.get("count");
    const count = (entry?.value ?? 0) + 1;
    await state.put("count", count);
    return Response.json({ count, node: config.node, path: url.pathname + url.search, method: request.method, body: await request.text() });
  },
})`;

let cloud: TestCloud;
let code: string;

beforeAll(async () => {
  cloud = await startTestCloud();
  code = await bundleNode(counter);
});
afterAll(() => cloud?.close());

describe("a node in the real workerd", () => {
  test("serves requests, streams and WebSockets below its name, with its state", async () => {
    const base = await deployNode(cloud, "serving", code);
    expect(await (await fetch(`${base}/mcp?a=1`, { method: "POST", body: "hi" })).json()).toEqual({
      count: 1,
      node: "acme/edge",
      path: "/mcp?a=1",
      method: "POST",
      body: "hi",
    });
    expect(await (await fetch(base)).json()).toMatchObject({ count: 2, path: "/" });
    const parts: string[] = [];
    for await (const part of (await fetch(`${base}/stream`)).body!.pipeThrough(new TextDecoderStream()))
      parts.push(part);
    expect(parts, "passed on as they were written").toEqual(["one ", "two ", "three"]);
    const socket = new WebSocket(`${base.replace("http", "ws")}/ws`);
    const answer = await new Promise((resolve, reject) => {
      socket.onopen = () => socket.send("hello");
      socket.onmessage = (event) => resolve(event.data);
      socket.onerror = reject;
    });
    socket.close();
    expect(answer).toBe("echo hello");
  });

  test("is back with its data after a restart of the local cloud", async () => {
    const base = await deployNode(cloud, "lasting", code);
    await fetch(base);
    await cloud.restart();
    expect(await (await fetch(`${cloud.url}/lasting`)).json()).toMatchObject({ count: 2 });
  });

  test("keeps its data over a new version, and loses them with its deletion", async () => {
    const base = await deployNode(cloud, "reborn", code);
    await fetch(base);
    await deployNode(cloud, "reborn", `${code}\n// changed`);
    expect(await (await fetch(base)).json()).toMatchObject({ count: 2 });
    await expectOk(cloud.call("DELETE", `${workers}/reborn`));
    expect((await fetch(base)).status).toBe(404);
    await deployNode(cloud, "reborn", code);
    expect(await (await fetch(base)).json()).toMatchObject({ count: 1 });
  });

  test("is reached only while its subdomain is enabled", async () => {
    const base = await deployNode(cloud, "hidden", code);
    await expectOk(cloud.call("POST", `${scripts}/hidden/subdomain`, { enabled: false }));
    expect((await fetch(base)).status).toBe(404);
    await expectOk(cloud.call("POST", `${scripts}/hidden/subdomain`, { enabled: true }));
    expect((await fetch(base)).status).toBe(200);
  });

  test("a custom URL with a path leaves the node's paths relative to it", async () => {
    const config = { network: "n", node: "acme/edge", url: "https://x.example/base/edge", root: { x: "y" } };
    const bindings = nodeBindings().map((binding: any) =>
      binding.name === "FEDERATION_CONFIG" ? { ...binding, text: JSON.stringify(config) } : binding,
    );
    const base = await deployNode(cloud, "prefixed", code, { bindings });
    expect(await (await fetch(`${base}/base/edge/mcp?q=1`)).json()).toMatchObject({ path: "/mcp?q=1" });
    expect(await (await fetch(`${base}/base/edge`)).json()).toMatchObject({ path: "/" });
    expect(await (await fetch(`${base}/base/edges`)).json()).toMatchObject({ path: "/base/edges" });
  });
});

describe("a broken upload", () => {
  test.each([
    ["a syntax error", "export default {", /Unexpected end of input/],
    ["an error at start", 'throw new Error("at start");', /Uncaught Error: at start/],
    ["an unknown module", 'import "./missing.js"; export default {};', /No such module "missing\.js"/],
  ])(
    "with %s is refused with 10021 and workerd's words, and the version before keeps running",
    async (_, broken, words) => {
      const base = await deployNode(cloud, "sturdy", code);
      const { count } = (await (await fetch(base)).json()) as { count: number };
      const refused = await cloud.call("POST", `${workers}/sturdy/versions?deploy=true`, nodeVersion(broken));
      expect(refused.status).toBe(400);
      const { errors } = (await refused.json()) as { errors: { code: number; message: string }[] };
      expect(errors[0]).toEqual({ code: 10021, message: expect.stringMatching(words) });
      expect(errors[0]!.message).not.toContain(cloud.dir);
      expect(await (await fetch(base)).json()).toMatchObject({ count: count + 1 });
      const versions = await expectOk(cloud.call("GET", `${workers}/sturdy/versions`));
      expect(readdirSync(join(cloud.dir, "cloudflare/workers/sturdy/versions")).toSorted()).toEqual(
        versions.map(({ id }: any) => id).toSorted(),
      );
    },
  );

  test("of the SDK 7.x, multipart under application/javascript, is read as code and refused as Cloudflare refuses it", async () => {
    const body =
      '------formdata-1\r\nContent-Disposition: form-data; name="metadata[main_module]"\r\n\r\nindex.mjs\r\n------formdata-1--\r\n';
    const refused = await cloud.call("PUT", `${scripts}/sdk7`, body, { "content-type": "application/javascript" });
    expect(refused.status).toBe(400);
    expect(((await refused.json()) as any).errors).toEqual([
      {
        code: 10021,
        message: expect.stringMatching(
          /^Uncaught SyntaxError: Invalid left-hand side expression in prefix operation\s+at worker\.js:1:4/,
        ),
      },
    ]);
    expect((await cloud.call("GET", `${scripts}/sdk7/settings`)).status).toBe(404);
  });

  test("is refused where it needs what the local cloud does not have, by name", async () => {
    await deployNode(cloud, "needy", code);
    const bindings = [...nodeBindings(), { type: "kv_namespace", name: "KV", namespace_id: "n" }];
    const refused = await cloud.call("POST", `${workers}/needy/versions?deploy=true`, nodeVersion(code, { bindings }));
    expect(((await refused.json()) as any).errors[0]).toEqual({
      code: 10021,
      message: expect.stringContaining('no bindings of type "kv_namespace" ("KV")'),
    });
  });
});

describe("Durable Object classes", () => {
  const upload = (name: string, metadata: object): Promise<Response> => {
    const form = new FormData();
    form.append(
      "metadata",
      JSON.stringify({
        main_module: "index.js",
        compatibility_date: compatibilityDate,
        bindings: nodeBindings(),
        ...metadata,
      }),
    );
    form.append("index.js", new File([code], "index.js", { type: "application/javascript+module" }));
    return cloud.call("PUT", `${scripts}/${name}`, form);
  };
  const fault = async (answer: Promise<Response>): Promise<string> => {
    const response = await answer;
    const { errors } = (await response.json()) as { errors: { code: number; message: string }[] };
    return `${response.status} ${errors[0]?.code} ${errors[0]?.message}`;
  };

  test("migrations apply once: the tag they start from must be the one that is there", async () => {
    const first = { migrations: { new_tag: "v1", new_sqlite_classes: ["NodeState"] } };
    await expectOk(upload("migrated", first));
    expect(await fault(upload("migrated", first))).toBe(
      "412 10079 Actor migration tag precondition failed, got tag '' when expected tag is 'v1'. Please make sure the tags match and try again.",
    );
    expect((await expectOk(upload("migrated", {}))).migration_tag).toBe("v1");
    const again = { migrations: { old_tag: "v1", new_tag: "v2", new_sqlite_classes: ["NodeState"] } };
    expect(await fault(upload("migrated", again))).toContain("400 10074 ");
    await expectOk(upload("migrated", { migrations: { old_tag: "v1", new_tag: "v2" } }));
    expect(
      (await expectOk(cloud.call("GET", `/accounts/${account}/workers/services/migrated`))).default_environment.script
        .migration_tag,
    ).toBe("v2");
  });

  test("exports can be sent with every upload, and there is no way back to migrations", async () => {
    expect(await fault(upload("declared", {}))).toContain("400 10061 ");
    await expectOk(upload("declared", { exports: sqlite }));
    await expectOk(upload("declared", { exports: sqlite }));
    expect(await fault(upload("declared", { migrations: { new_tag: "v1" } }))).toContain("400 100403 ");
    expect(
      await fault(upload("declared", { exports: { Other: { type: "durable-object", storage: "sqlite" } } })),
    ).toContain("400 10021 ");
  });

  test("a version that is not deployed cannot change them", async () => {
    await expectOk(cloud.call("POST", workers, { name: "versioned", subdomain: { enabled: true } }));
    expect(await fault(cloud.call("POST", `${workers}/versioned/versions`, nodeVersion(code)))).toContain("400 10211 ");
    await expectOk(cloud.call("POST", `${workers}/versioned/versions?deploy=true`, nodeVersion(code)));
    await expectOk(cloud.call("POST", `${workers}/versioned/versions`, nodeVersion(code)));
  });
});

describe("versions, deployments and secrets", () => {
  const revealing = (mark: string): string =>
    `export { NodeState } from "./state.js"; export default { fetch: (request, env) => Response.json({ mark: "${mark}", token: env.TOKEN ?? null }) };`;
  const plain = (mark: string): object => ({
    main_module: "index.js",
    compatibility_date: compatibilityDate,
    modules: [
      {
        name: "index.js",
        content_type: "application/javascript+module",
        content_base64: Buffer.from(revealing(mark).replace('export { NodeState } from "./state.js"; ', "")).toString(
          "base64",
        ),
      },
    ],
  });

  test("a version waits until it is deployed; an older one can be deployed again", async () => {
    await expectOk(cloud.call("POST", workers, { name: "rolled", subdomain: { enabled: true } }));
    const one = await expectOk(cloud.call("POST", `${workers}/rolled/versions?deploy=true`, plain("one")));
    const two = await expectOk(cloud.call("POST", `${workers}/rolled/versions`, plain("two")));
    const mark = async (): Promise<string> =>
      ((await (await fetch(`${cloud.url}/rolled`)).json()) as { mark: string }).mark;
    const deploy = (...versions: object[]): Promise<Response> =>
      cloud.call("POST", `${scripts}/rolled/deployments`, { strategy: "percentage", versions });
    expect(await mark()).toBe("one");
    await expectOk(deploy({ version_id: two.id, percentage: 100 }));
    expect(await mark()).toBe("two");
    await expectOk(deploy({ version_id: one.id, percentage: 100 }));
    expect(await mark()).toBe("one");
    expect((await deploy({ version_id: one.id, percentage: 20 }, { version_id: two.id, percentage: 80 })).status).toBe(
      400,
    );
    expect((await deploy({ version_id: crypto.randomUUID(), percentage: 100 })).status).toBe(404);
    const { deployments } = await expectOk(cloud.call("GET", `${scripts}/rolled/deployments`));
    expect(deployments.map(({ versions }: any) => versions[0].version_id)).toEqual([one.id, two.id, one.id]);
  });

  test("a secret is a new version at once, is never answered, survives uploads that keep it, and lies in files for the owner only", async () => {
    await expectOk(cloud.call("POST", workers, { name: "secretive", subdomain: { enabled: true } }));
    await expectOk(cloud.call("POST", `${workers}/secretive/versions?deploy=true`, plain("a")));
    const token = async (): Promise<string | null> =>
      ((await (await fetch(`${cloud.url}/secretive`)).json()) as { token: string | null }).token;
    const secrets = `${scripts}/secretive/secrets`;
    expect(await expectOk(cloud.call("PUT", secrets, { name: "TOKEN", text: "hush-1", type: "secret_text" }))).toEqual({
      name: "TOKEN",
      type: "secret_text",
    });
    expect(await token()).toBe("hush-1");
    await expectOk(
      cloud.call("POST", `${workers}/secretive/versions?deploy=true`, {
        ...plain("b"),
        keep_bindings: ["secret_text"],
      }),
    );
    expect(await token()).toBe("hush-1");
    await expectOk(
      cloud.call("POST", `${workers}/secretive/versions?deploy=true`, {
        ...plain("c"),
        bindings: [{ type: "inherit", name: "TOKEN" }],
      }),
    );
    expect(await token()).toBe("hush-1");
    const answers = await Promise.all(
      [
        secrets,
        `${secrets}/TOKEN`,
        `${scripts}/secretive/settings`,
        `${scripts}/secretive/versions`,
        `${workers}/secretive/versions`,
        `${scripts}/secretive/content/v2`,
      ].map(async (path) => (await cloud.call("GET", path)).text()),
    );
    for (const answer of answers) expect(answer).not.toContain("hush");
    const files = readdirSync(join(cloud.dir, "cloudflare"), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    const holders = files.filter((path) => readFileSync(path).includes("hush-1"));
    expect(holders.map((path) => path.split("/").at(-1))).toEqual(Array(3).fill("secrets.json"));
    for (const path of holders) expect(statSync(path).mode & 0o777).toBe(0o600);
    await expectOk(cloud.call("DELETE", `${secrets}/TOKEN`));
    expect(await token()).toBe(null);
    expect((await cloud.call("DELETE", `${secrets}/TOKEN`)).status).toBe(404);
  });
});

describe("the official SDK 6.5", () => {
  test("uploads, reads, switches and deletes a script", async () => {
    const client = new Cloudflare({ apiToken: cloud.token, baseURL: `${cloud.url}/client/v4`, maxRetries: 0 });
    expect((await client.user.tokens.verify())?.status).toBe("active");
    const body = { account_id: account };
    await client.workers.scripts.update("sdk-six", {
      ...body,
      metadata: {
        main_module: "index.mjs",
        compatibility_date: compatibilityDate,
        exports: sqlite,
        bindings: nodeBindings(),
      } as any,
      files: [new File([code], "index.mjs", { type: "application/javascript+module" })] as any,
    });
    expect(await client.workers.scripts.subdomain.create("sdk-six", { ...body, enabled: true })).toEqual({
      enabled: true,
      previews_enabled: true,
    });
    expect(await (await fetch(`${cloud.url}/sdk-six/health`)).json()).toMatchObject({ count: 1, path: "/health" });
    const { bindings: full } = await expectOk(cloud.call("GET", `${scripts}/sdk-six/settings`));
    expect(full.map(({ name }: any) => name)).toEqual(["FEDERATION_CONFIG", "FEDERATION_KEY", "STATE"]);
    expect(full[1]).toEqual({ type: "secret_text", name: "FEDERATION_KEY" });
    const content = await cloud.call("GET", `${scripts}/sdk-six/content/v2`);
    expect(content.headers.get("cf-entrypoint")).toBe("index.mjs");
    expect(await ((await content.formData()).get("index.mjs") as File).text()).toBe(code);
    const listed = (await client.workers.scripts.list(body)).result.map(({ id }) => id);
    expect(listed).toContain("sdk-six");
    await client.workers.scripts.delete("sdk-six", body);
    await expect(client.workers.scripts.versions.list("sdk-six", body)).rejects.toMatchObject({ status: 404 });
  });
});

describe("refusals", () => {
  test("a wrong token is 10000, an unknown route 7003, an unknown script 10007, an unknown service 10090", async () => {
    const codeOf = async (answer: Promise<Response>): Promise<[number, number]> => {
      const response = await answer;
      const body = (await response.json()) as any;
      expect(body).toMatchObject({ success: false, messages: [], result: null });
      return [response.status, body.errors[0].code];
    };
    const wrong = { authorization: "Bearer wrong" };
    expect(await codeOf(cloud.call("GET", scripts, undefined, wrong))).toEqual([403, 10000]);
    expect(await codeOf(cloud.call("GET", "/user/tokens/verify", undefined, wrong))).toEqual([401, 1000]);
    expect(await codeOf(fetch(`${cloud.url}/client/v4${scripts}`))).toEqual([403, 10000]);
    expect(await codeOf(cloud.call("GET", `/accounts/${account}/r2/buckets/b`))).toEqual([404, 7003]);
    expect(await codeOf(cloud.call("GET", `${scripts}/none/settings`))).toEqual([404, 10007]);
    expect(await codeOf(cloud.call("GET", `/accounts/${account}/workers/services/none`))).toEqual([404, 10090]);
    expect(await codeOf(cloud.call("PUT", `${scripts}/none/secrets`, { name: "A", text: "b" }))).toEqual([404, 10007]);
    expect(await codeOf(cloud.call("POST", `${scripts}/none/versions`, new FormData()))).toEqual([404, 10007]);
  });
});
