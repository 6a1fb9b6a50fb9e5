import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { PrivateJwk, PublicJwk } from "../../../functions/node/platform.ts";
import { signingKey } from "../../../providers/plugin/key.ts";
import { limitTo } from "../../../providers/plugin/nodes.ts";
import { ResourceError } from "../../../providers/plugin/resource.ts";
import { wiring } from "../../../providers/plugin/wiring.ts";
import { FederationEndpoint } from "./node.ts";

const lines: string[] = [];
const context = {
  log: (severity: string, message: string) => void lines.push(`${severity}: ${message}`),
  signal: new AbortController().signal,
  config: {},
};

describe("Wiring", () => {
  let root: PrivateJwk;
  let publicRoot: PublicJwk;
  const running: { stop(): Promise<void> }[] = [];

  beforeAll(async () => {
    const { outputs } = await signingKey.create({ owner: "net", epoch: 1 }, context);
    root = JSON.parse(outputs.privateKey);
    publicRoot = outputs.publicKey;
  });

  afterEach(async () => {
    await Promise.all(running.splice(0).map((each) => each.stop()));
  });

  async function endpoint(id: string): Promise<FederationEndpoint> {
    const node = await new FederationEndpoint("net", id, publicRoot).start();
    node.root = publicRoot;
    running.push(node);
    return node;
  }

  const inputs = (urls: Readonly<Record<string, string>>, readySeconds = 1) => ({
    network: "net",
    nodes: Object.fromEntries(
      Object.entries(urls).map(([id, url]) => [
        id,
        { organization: "acme", provider: "fly", url, prefix: id, functions: [] },
      ]),
    ),
    keys: {},
    organizations: {},
    grants: [],
    rootKey: JSON.stringify(root),
    readySeconds,
  });

  /** Answers each request with the next of these, and the last one from then on. */
  async function scripted(
    ...answers: { status: number; body: string }[]
  ): Promise<{ url: string; requests: string[] }> {
    const requests: string[] = [];
    const server: Server = createServer((request, response) => {
      requests.push(request.method!);
      const { status, body } = answers[Math.min(requests.length, answers.length) - 1]!;
      request.resume().on("end", () => response.writeHead(status).end(body));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    running.push({ stop: () => new Promise((resolve) => void server.close(() => resolve()).closeAllConnections()) });
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
  }

  async function failure(work: Promise<unknown>): Promise<ResourceError> {
    const error = await work.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(ResourceError);
    return error as ResourceError;
  }

  test("reaches 200 nodes, each with one look and one delivery", async () => {
    const nodes = await Promise.all(Array.from({ length: 200 }, (_, index) => endpoint(`acme/n${index}`)));
    const { outputs } = await wiring.create(
      inputs(Object.fromEntries(nodes.map((node) => [node.node, node.url]))),
      context,
    );
    expect(nodes.map(({ gets, puts, status }) => [gets, puts, status.serial])).toEqual(nodes.map(() => [1, 1, 1]));
    expect(Object.keys(outputs.held)).toHaveLength(200);
  });

  test("waits for a node that comes up late, without holding up the others", async () => {
    const early = await endpoint("acme/early");
    const late = new FederationEndpoint("net", "acme/late", publicRoot);
    late.root = publicRoot;
    await late.start();
    const { url } = late;
    await late.stop();
    const made = wiring.create(inputs({ "acme/early": early.url, "acme/late": url }, 10), context);
    await expect.poll(() => early.status.serial).toBe(1);
    running.push(await late.start());
    const { outputs } = await made;
    expect(outputs.held).toEqual({ "acme/early": 1, "acme/late": 1 });
    expect(early.puts).toBe(1);
  });

  test("a late node that holds a newer manifest makes everybody get a newer one in the same run", async () => {
    const [early, ahead] = [await endpoint("acme/early"), await endpoint("acme/ahead")];
    for (const users of [["a"], ["b"], ["c"]]) {
      const earlier = { ...inputs({ "acme/ahead": ahead.url }), organizations: { acme: { issuers: [], users } } };
      await wiring.create(earlier, context);
    }
    expect(ahead.status.serial).toBe(3);
    await ahead.stop();
    const made = wiring.create(inputs({ "acme/early": early.url, "acme/ahead": ahead.url }, 10), context);
    await expect.poll(() => early.status.serial).toBe(1);
    await ahead.start();
    const { outputs } = await made;
    expect([outputs.serial, early.status.serial, ahead.status.serial]).toEqual([4, 4, 4]);
  });

  test("tries again what passes, gives up on what does not, and says why for each node", async () => {
    const good = await endpoint("acme/good");
    const starting = await scripted({ status: 503, body: "starting" });
    const closed = await scripted({ status: 401, body: '{"error":"no token"}' });
    const stranger = await scripted({
      status: 200,
      body: JSON.stringify({ network: "other", node: "x/y", serial: 9 }),
    });
    const page = await scripted({ status: 200, body: "<html>\n  There is nothing here yet" });
    const urls = {
      "acme/good": good.url,
      "acme/starting": starting.url,
      "acme/closed": closed.url,
      "acme/stranger": stranger.url,
      "acme/page": page.url,
    };
    const error = await failure(wiring.create(inputs(urls), context));
    expect(error.message.split("\n")).toEqual([
      "4 of 5 nodes do not hold manifest 1 of the network net:",
      `  acme/starting at ${starting.url}: it answered 503 starting`,
      `  acme/closed at ${closed.url}: it answered 401 {"error":"no token"}`,
      `  acme/stranger at ${stranger.url}: it says it is x/y of the network other: do two nodes share this URL?`,
      `  acme/page at ${page.url}: it answered what no node says: <html> There is nothing here yet`,
      "All other nodes hold it.",
      "Mend this and run `pulumi up` again. A node that was only away also takes the manifest from its peers once it is back.",
    ]);
    expect(error.partial).toMatchObject({ id: "net", outputs: { serial: 1, held: { "acme/good": 1 } } });
    expect(starting.requests.length).toBeGreaterThan(3);
    expect(closed.requests).toEqual(["GET", "PUT", "GET"]);
  });

  test("stops when the run is cancelled", async () => {
    const cancel = new AbortController();
    const starting = await scripted({ status: 503, body: "starting" });
    const made = failure(wiring.create(inputs({ "acme/a": starting.url }, 60), { ...context, signal: cancel.signal }));
    await expect.poll(() => starting.requests.length).toBeGreaterThan(2);
    cancel.abort();
    expect((await made).message).toContain("acme/a at " + starting.url + ": it was cancelled");
  });

  test("read takes out of the inputs who does not hold it, and puts back who does again", async () => {
    const [a, b] = [await endpoint("acme/a"), await endpoint("acme/b")];
    const wanted = inputs({ "acme/a": a.url, "acme/b": b.url });
    const { id, outputs } = await wiring.create(wanted, context);
    expect(await wiring.read(id, { id, inputs: wanted, outputs }, context)).toEqual({ id, inputs: wanted, outputs });

    lines.length = 0;
    await b.stop();
    const drifted = await wiring.read(id, { id, inputs: wanted, outputs }, context);
    expect(Object.keys(drifted!.inputs.nodes)).toEqual(["acme/a"]);
    expect(drifted!.outputs).toEqual({ ...outputs, held: { "acme/a": 1 } });
    expect(lines).toEqual([`warning: acme/b at ${b.url} does not hold manifest 1: it cannot be reached: ECONNREFUSED`]);

    await b.start();
    expect(await wiring.read(id, drifted, context)).toEqual({ id, inputs: wanted, outputs });
  });

  test("takes no other root key than a private Ed25519 one, and does not show it", () => {
    const { d: _, ...withoutPrivate } = root;
    for (const rootKey of ["text", "{}", JSON.stringify(withoutPrivate)]) {
      const result = wiring.inputs.safeParse({ ...inputs({}), rootKey });
      expect(result.error?.issues.map(({ path }) => path)).toEqual([["rootKey"]]);
      expect(result.error?.issues[0]?.message).not.toContain(rootKey === "text" ? '"text"' : root.x);
    }
  });

  test("runs no more at a time than it may, and all of them", async () => {
    const limit = limitTo(3);
    let [running, most, done] = [0, 0, 0];
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        limit(async () => {
          most = Math.max(most, ++running);
          await new Promise((resolve) => setTimeout(resolve, index % 4));
          running--;
          done++;
          if (index % 5 === 0) throw new Error("a task that fails gives its place back");
        }).catch(() => undefined),
      ),
    );
    expect([most, done]).toEqual([3, 20]);
  });
});
