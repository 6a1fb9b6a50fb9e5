import { describe, expect, test, vi } from "vitest";
import { ManifestStore } from "../../../../functions/node/federation/manifest-store.ts";
import type { FederationStatus, Manifest } from "../../../../functions/node/federation/manifest.ts";
import { memoryState } from "../../../../functions/node/state/memory.ts";
import { makeKey, networkName, publicOf, signManifest, TestNetwork, threeNodes } from "../network.ts";

const id = "acme/edge";

test("a node without a manifest waits and lets nobody in", async () => {
  const network = await TestNetwork.waiting();
  expect(await (await network.request(id, "/health")).json()).toMatchObject({ status: "waiting", serial: 0 });
  const status = (await (await network.request(id, "/.well-known/federation")).json()) as FederationStatus;
  expect(status).toEqual({ network: networkName, node: id, serial: 0, key: publicOf(network.node(id).key) });
  const authorization = `Bearer ${await network.userToken("ada@acme", id)}`;
  expect((await network.request(id, "/mcp", { method: "POST", headers: { authorization }, body: "{}" })).status).toBe(
    503,
  );
  expect((await network.request(id, "/mcp", { method: "POST", body: "{}" })).status).toBe(401);
});

describe("of the manifests that are put to a node that holds serial 5", () => {
  const cases: [string, number, (manifest: Manifest, network: TestNetwork, held: string) => Promise<string>][] = [
    ["a newer one is taken", 200, async (manifest, { root }) => await signManifest({ ...manifest, serial: 6 }, root)],
    [
      "a much newer one is taken",
      200,
      async (manifest, { root }) => await signManifest({ ...manifest, serial: 600 }, root),
    ],
    ["the same again is fine", 200, async (_, __, held) => held],
    ["the same with a line end is fine", 200, async (_, __, held) => `${held}\n`],
    [
      "the same serial with other content is refused",
      409,
      async (manifest, { root }) => await signManifest({ ...manifest, grants: [] }, root),
    ],
    [
      "an older one is refused",
      409,
      async (manifest, { root }) => await signManifest({ ...manifest, serial: 4 }, root),
    ],
    [
      "one of another network is refused",
      409,
      async (manifest, { root }) => await signManifest({ ...manifest, network: "other", serial: 6 }, root),
    ],
    [
      "one signed by another key is refused",
      401,
      async (manifest) => await signManifest({ ...manifest, serial: 6 }, await makeKey()),
    ],
    [
      "one signed by a node's key is refused",
      401,
      async (manifest, network) => await signManifest({ ...manifest, serial: 6 }, network.node(id).key),
    ],
    [
      "one of another type is refused",
      401,
      async (manifest, { root }) => await signManifest({ ...manifest, serial: 6 }, root, { typ: "at+jwt" }),
    ],
    [
      "a changed one is refused",
      401,
      async (manifest, { root }) =>
        swapPayload(await signManifest({ ...manifest, serial: 6 }, root), { ...manifest, serial: 7 }),
    ],
    [
      "an unsigned one is refused",
      401,
      async (manifest) => `${encode({ alg: "none" })}.${encode({ ...manifest, serial: 6 })}.`,
    ],
    ["text is refused", 401, async () => "hello"],
    [
      "a signed one that lacks a field is refused",
      400,
      async (manifest, { root }) => await signManifest({ ...manifest, serial: 6, grants: undefined }, root),
    ],
    [
      "a signed one with a serial that is no number is refused",
      400,
      async (manifest, { root }) => await signManifest({ ...manifest, serial: "6" }, root),
    ],
    [
      "a signed one with one prefix for two peers is refused",
      400,
      async (manifest, { root }) => await signManifest({ ...samePrefix(manifest), serial: 6 }, root),
    ],
  ];
  test.each(cases)("%s", async (_, status, make) => {
    const network = await TestNetwork.waiting();
    const held = await network.publish({ serial: 5 }, [id]);
    const before = (await (await network.request(id, "/.well-known/federation")).json()) as FederationStatus;
    const response = await network.put(id, await make(network.manifest, network, held));
    expect(response.status).toBe(status);
    const after = (await (await network.request(id, "/.well-known/federation")).json()) as FederationStatus;
    const answer = (await response.json()) as { error?: string; held?: FederationStatus };
    if (status === 200) expect(answer).toEqual(after);
    else expect([after, answer.held], "it keeps and names what it held").toEqual([before, before]);
  });
});

test("concurrent writers never move the serial back, and the loser's text is dropped", async () => {
  const network = await TestNetwork.waiting();
  const { config } = network.node(id);
  const state = memoryState();
  const texts = await Promise.all(
    Array.from(
      { length: 12 },
      async (_, n) => await signManifest({ ...network.manifest, serial: n + 1 }, network.root),
    ),
  );
  const results = await Promise.allSettled(
    texts.map(async (text) => await new ManifestStore(config, state).accept(text)),
  );
  expect(results.at(-1)?.status).toBe("fulfilled");
  expect((await new ManifestStore(config, state).held())?.serial).toBe(12);
  const kept = (await state.list("manifest/")).entries.filter(({ value }) => value !== null);
  expect(kept.map(({ value }) => value)).toEqual([texts.at(-1)]);
});

test("a writer that stalls between its check and its write does not move the serial back", async () => {
  const network = await TestNetwork.waiting();
  const { config } = network.node(id);
  const state = memoryState();
  const sign = async (serial: number) => await signManifest({ ...network.manifest, serial }, network.root);
  const [older, newer] = [await sign(2), await sign(3)];
  let resume = () => undefined as void;
  const stalled = new Promise<void>((done) => (resume = done));
  let atWrite = () => undefined as void;
  const reachedWrite = new Promise<void>((done) => (atWrite = done));
  // Parts are written after the check and before the switch, so a slow put stalls the writer exactly there.
  const slow = {
    ...state,
    async put(...args: Parameters<typeof state.put>) {
      atWrite();
      await stalled;
      return await state.put(...args);
    },
  };
  const late = new ManifestStore(config, slow).accept(older);
  await reachedWrite;
  await new ManifestStore(config, state).accept(newer);
  resume();
  await expect(late).rejects.toMatchObject({ name: "ManifestRefused", status: 409 });
  expect((await new ManifestStore(config, state).held())?.serial).toBe(3);
});

test("a manifest larger than one value of the state is kept in parts", async () => {
  const network = await TestNetwork.waiting();
  const users = Array.from({ length: 20_000 }, (_, n) => `user-${n}`);
  const organizations = {
    ...network.manifest.organizations,
    acme: { ...network.manifest.organizations["acme"]!, users: [...users, "ada"] },
  };
  const jws = await network.publish({ organizations }, [id]);
  expect(jws.length).toBeGreaterThan(200_000);
  network.restart(id, threeNodes.nodes[id] ?? []);
  expect(await (await network.request(id, "/health")).json()).toMatchObject({ status: "ok", serial: 1 });
});

test("other isolates on the same state see a new manifest within two seconds", async () => {
  const network = await TestNetwork.waiting();
  const { config } = network.node(id);
  const state = memoryState();
  let now = 1_000_000;
  const [one, two] = [new ManifestStore(config, state, () => now), new ManifestStore(config, state, () => now)];
  await one.accept(await signManifest({ ...network.manifest, serial: 1 }, network.root));
  expect((await two.held())?.serial).toBe(1);
  await one.accept(await signManifest({ ...network.manifest, serial: 2 }, network.root));
  now += 1_999;
  expect((await two.held())?.serial).toBe(1);
  now += 1;
  expect((await two.held())?.serial).toBe(2);
});

test("a state that cannot be read is tolerated for half a minute, not longer", async () => {
  const complaint = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const network = await TestNetwork.waiting();
  const state = memoryState();
  let now = 1_000_000;
  const store = new ManifestStore(network.node(id).config, state, () => now);
  await store.accept(await signManifest({ ...network.manifest, serial: 1 }, network.root));
  vi.spyOn(state, "get").mockRejectedValue(new Error("down"));
  now += 20_000;
  expect((await store.held())?.serial).toBe(1);
  expect(complaint).toHaveBeenCalledOnce();
  now += 20_000;
  await expect(store.held()).rejects.toThrow("down");
});

test("a manifest that was changed in the state is not believed", async () => {
  const network = await TestNetwork.waiting();
  const state = memoryState();
  const { config } = network.node(id);
  const held = await new ManifestStore(config, state).accept(
    await signManifest({ ...network.manifest, serial: 1 }, network.root),
  );
  await state.put(`manifest/${held.digest}/0`, await signManifest({ ...network.manifest, serial: 1 }, await makeKey()));
  await expect(new ManifestStore(config, state).held()).rejects.toThrow("not a manifest signed by the root key");
});

function samePrefix(manifest: Manifest): Manifest {
  return {
    ...manifest,
    nodes: Object.fromEntries(
      Object.entries(manifest.nodes).map(([node, rest]) => [node, { ...rest, prefix: "same" }]),
    ),
  };
}

function swapPayload(jws: string, payload: unknown): string {
  const [header, , signature] = jws.split(".");
  return `${header}.${encode(payload)}.${signature}`;
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
