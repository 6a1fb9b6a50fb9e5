import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { PublicJwk } from "../../../functions/node/platform.ts";
import { FederationEndpoint } from "./node.ts";
import { Project } from "./project.ts";

const plugin = { name: "federation", folder: resolve(import.meta.dirname, "../../../providers/plugin") };

const program = `
const pulumi = require("@pulumi/pulumi");
const { epoch = 1, wiring } = require("./input.json");

class SigningKey extends pulumi.CustomResource {
  constructor(name, args, opts) {
    super("federation:index:SigningKey", name, { ...args, publicKey: undefined, privateKey: undefined, kid: undefined }, opts);
  }
}
class Wiring extends pulumi.CustomResource {
  constructor(name, args, opts) {
    super("federation:index:Wiring", name, { ...args, serial: undefined, digest: undefined, manifest: undefined, held: undefined }, opts);
  }
}

const root = new SigningKey("root", { owner: "net", epoch });
exports.root = root.publicKey;
exports.private = root.privateKey;
if (wiring) {
  const made = new Wiring("wiring", { ...wiring, rootKey: root.privateKey });
  exports.serial = made.serial;
  exports.digest = made.digest;
  exports.held = made.held;
}
`;

const nodeKey: PublicJwk = {
  kty: "OKP",
  crv: "Ed25519",
  x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
};

describe("the federation plugin under the real engine", () => {
  let project: Project;
  let nodes: FederationEndpoint[];

  beforeAll(async () => {
    project = await Project.create("federation-plugin", program, plugin);
    nodes = await Promise.all(
      ["acme/a", "acme/b", "beta/c"].map((id) => new FederationEndpoint("net", id, nodeKey).start()),
    );
  });

  afterAll(async () => {
    await project?.remove();
    await Promise.all((nodes ?? []).map((node) => node.stop()));
  });

  const wiring = (users: readonly string[] = ["ann"]) => ({
    network: "net",
    nodes: Object.fromEntries(
      nodes.map((node) => [
        node.node,
        {
          organization: node.node.split("/")[0],
          provider: "fly",
          url: node.url,
          prefix: node.node.split("/")[1],
          functions: ["echo"],
        },
      ]),
    ),
    keys: Object.fromEntries(nodes.map((node) => [node.node, [node.key]])),
    organizations: { acme: { issuers: [], users }, beta: { issuers: [], users: [] } },
    grants: [],
    readySeconds: 1,
  });
  const puts = () => nodes.reduce((sum, node) => sum + node.puts, 0);
  const requests = () => nodes.reduce((sum, node) => sum + node.puts + node.gets, 0);

  test("a preview makes nothing and knows no key yet", async () => {
    const run = await project.pulumi("preview", "--diff", "--stack", "test");
    expect(run.code, run.text).toBe(0);
    expect(run.text).toContain("+ federation:index:SigningKey");
    expect(run.text).not.toContain('"kty"');
    expect(await project.resources()).toEqual([]);
  });

  test("a key is made; its private half is in no output, no log, and encrypted in the state", async () => {
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    const outputs = await project.outputs();
    expect(outputs["root"]).toEqual({ kty: "OKP", crv: "Ed25519", x: expect.any(String), kid: expect.any(String) });
    expect(outputs["private"]).toBe("[secret]");
    const shown = await project.pulumi("stack", "output", "private", "--show-secrets", "--stack", "test");
    const key = JSON.parse(shown.text);
    expect(key).toEqual({ ...outputs["root"], d: expect.any(String) });
    expect(await project.state()).toContain(key.x);
    expect(await project.state()).not.toContain(key.d);
    expect(run.text).not.toContain(key.d);
    for (const node of nodes) node.root = outputs["root"];
  });

  test("a preview of the wiring asks no node anything", async () => {
    await project.input({ wiring: wiring() });
    const run = await project.pulumi("preview", "--diff", "--stack", "test");
    expect(run.code, run.text).toBe(0);
    expect(run.text).toContain("+ federation:index:Wiring");
    expect(requests()).toBe(0);
  });

  test("the wiring reaches every node, which verifies it", async () => {
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(puts()).toBe(3);
    const outputs = await project.outputs();
    expect(outputs["serial"]).toBe(1);
    expect(outputs["held"]).toEqual({ "acme/a": 1, "acme/b": 1, "beta/c": 1 });
    for (const node of nodes) {
      expect(node.status).toMatchObject({ serial: 1, digest: outputs["digest"] });
      expect(node.manifest).toMatchObject({ network: "net", serial: 1, keys: wiring().keys, nodes: wiring().nodes });
      expect(node.manifest).not.toHaveProperty("rootKey");
    }
  });

  test("a second run changes nothing and asks no node anything", async () => {
    const before = requests();
    const run = await project.up("--expect-no-changes");
    expect(run.code, run.text).toBe(0);
    expect(requests()).toBe(before);
  });

  test("a node that lost its manifest shows in a refresh, and only it gets the same one again", async () => {
    nodes[1]!.forget();
    const refresh = await project.pulumi("refresh", "--yes", "--skip-preview", "--diff", "--stack", "test");
    expect(refresh.code, refresh.text).toBe(0);
    expect(refresh.text).toContain("acme/b");
    expect(refresh.text).toContain("it holds none");
    const before = nodes.map((node) => node.puts);
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(nodes.map((node, index) => node.puts - before[index]!)).toEqual([0, 1, 0]);
    expect(nodes[1]!.status.serial).toBe(1);
    expect((await project.up("--expect-no-changes")).code).toBe(0);
  });

  test("a dead node fails the run by name, the others are served, and the next run converges", async () => {
    await nodes[2]!.stop();
    await project.input({ wiring: wiring(["ann", "bob"]) });
    const failed = await project.up();
    expect(failed.code).not.toBe(0);
    expect(failed.text).toContain("1 of 3 nodes do not hold manifest 2 of the network net");
    expect(failed.text).toContain(`beta/c at ${nodes[2]!.url}: it cannot be reached: ECONNREFUSED`);
    expect(failed.text).not.toMatch(/at .*wiring\.ts/);
    expect(nodes.map((node) => node.status.serial)).toEqual([2, 2, 1]);

    await nodes[2]!.start();
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(nodes.map((node) => node.status.serial)).toEqual([2, 2, 2]);
    expect(nodes[2]!.manifest?.organizations["acme"]?.users).toEqual(["ann", "bob"]);
    expect((await project.up("--expect-no-changes")).code).toBe(0);
  });

  test("a wrong input is refused before anything happens, with its path", async () => {
    const before = requests();
    const broken = {
      ...wiring(),
      nodes: { ...wiring().nodes, "acme/a": { ...wiring().nodes["acme/a"], url: "nowhere" } },
    };
    await project.input({ wiring: broken });
    const run = await project.pulumi("preview", "--stack", "test");
    expect(run.code).not.toBe(0);
    expect(run.text).toContain('nodes["acme/a"].url: Invalid URL; it is "nowhere"');
    expect(requests()).toBe(before);
  });

  test("a new root key is made before the old one goes; nodes that do not trust it yet say so, and then follow", async () => {
    await project.input({ epoch: 2, wiring: wiring(["ann", "bob"]) });
    const refused = await project.up();
    expect(refused.code).not.toBe(0);
    expect(refused.text).toMatch(/epoch: 1 => 2/);
    expect(refused.text).toContain("3 of 3 nodes do not hold manifest 3 of the network net");
    expect(refused.text).toContain(
      `acme/a at ${nodes[0]!.url}: it answered 409 {"error":"the signature is not the root's"}`,
    );
    // The outputs of a stack change only with a run that succeeds.
    const made = (await project.resources()).find(({ urn }) => urn.endsWith("::root"));
    for (const node of nodes) node.root = made!.outputs["publicKey"];
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(nodes.map((node) => node.status.serial)).toEqual([3, 3, 3]);
  });

  test("a stack whose state was lost takes over what the nodes hold", async () => {
    const removed = await project.pulumi(
      "state",
      "delete",
      "urn:pulumi:test::federation-plugin::federation:index:Wiring::wiring",
      "--yes",
      "--stack",
      "test",
    );
    expect(removed.code, removed.text).toBe(0);
    const before = puts();
    const same = await project.up();
    expect(same.code, same.text).toBe(0);
    expect([puts() - before, (await project.outputs())["serial"]]).toEqual([0, 3]);
  });

  test("destroy leaves nothing", async () => {
    const before = requests();
    const run = await project.pulumi("destroy", "--yes", "--skip-preview", "--stack", "test");
    expect(run.code, run.text).toBe(0);
    expect(requests()).toBe(before);
  });
});
