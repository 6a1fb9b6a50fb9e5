import { describe, expect, it } from "vitest";
import { makePlan } from "../../infra/plan.ts";
import { parseTopology } from "../../infra/topology.ts";
import { secretProblems } from "../../infra/upstreams.ts";
import { facts, stackConfig, valid } from "./topology.ts";

const url = "https://tools.example.com/mcp";
const credentials = { tokenUrl: "https://login.example.com/token", clientId: "federation" };

/** The local stack with changes to the node `acme/edge`. */
function withEdge(edge: object, change: (topology: any) => void = () => undefined): any {
  const config = stackConfig("local");
  Object.assign(config.organizations.acme.nodes.edge, edge);
  change(config);
  return config;
}

function planOf(config: unknown) {
  const { plan, problems } = makePlan(valid(config), facts);
  expect(problems).toEqual([]);
  return plan!;
}

describe("upstreams of a node", () => {
  it("are planned with their defaults, sorted by name", () => {
    const upstreams = {
      wiki: { url, auth: credentials, era: "legacy" },
      docs: { url, auth: "bearer", prefix: "" },
      open: { url },
    };
    const edge = planOf(withEdge({ upstreams })).nodes.find(({ id }) => id === "acme/edge")!;
    expect(edge.upstreams).toEqual([
      { name: "docs", url, prefix: "", era: "auto", auth: { type: "bearer" } },
      { name: "open", url, prefix: "open", era: "auto", auth: { type: "none" } },
      { name: "wiki", url, prefix: "wiki", era: "legacy", auth: { type: "client-credentials", ...credentials } },
    ]);
  });

  it("are not in the manifest, which every node of the network reads", () => {
    const { manifest } = planOf(withEdge({ upstreams: { docs: { url } } }));
    expect(JSON.stringify(manifest)).not.toContain("tools.example.com");
  });

  it("are refused where the node's configuration would not fit into a variable of its provider", () => {
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`server-${index}`, { url }]));
    expect(makePlan(valid(withEdge({ upstreams: many(30) })), facts).problems).toEqual([]);
    expect(makePlan(valid(withEdge({ upstreams: many(60) })), facts).problems).toMatchObject([
      {
        path: "topology.organizations.acme.nodes.edge.upstreams",
        allowed: "at most 5120 bytes",
        problem: expect.stringMatching(/^make the node's configuration \d+ bytes/),
      },
    ]);
  });

  it("may be all that a node has", () => {
    expect(planOf(withEdge({ functions: [], upstreams: { docs: { url } } })).bundles.map(({ id }) => id)).toContain(
      "cloudflare:",
    );
    expect(parseTopology(withEdge({ functions: [] })).problems).toMatchObject([
      { path: "topology.organizations.acme.nodes.edge", allowed: "serves nothing: name functions or upstreams" },
    ]);
  });

  it.each([
    [{ url: "http://tools.example.com/mcp" }, "url", "must be an https URL; http only on this machine"],
    [{ url: "http://localhost.example.com/mcp" }, "url", "must be an https URL; http only on this machine"],
    [{ url, auth: "basic" }, "auth", "must be none, bearer, or { tokenUrl, clientId } for OAuth client credentials"],
    [
      { url, prefix: "a.b" },
      "prefix",
      "must be a lower-case letter, then lower-case letters and digits, parts joined by single dashes, or empty",
    ],
  ])("are refused with %j", (upstream, field, allowed) => {
    expect(parseTopology(withEdge({ upstreams: { docs: upstream } })).problems).toMatchObject([
      { path: `topology.organizations.acme.nodes.edge.upstreams.docs.${field}`, allowed },
    ]);
  });

  it.each([
    ["another upstream", { a: { url, prefix: "x" }, b: { url, prefix: "x" } }, "b", "the upstream a"],
    ["a node", { a: { url, prefix: "globex-compute" } }, "a", "the node globex/compute"],
    ["a transparent node", { a: { url, prefix: "" } }, "a", "the node globex/compute", ""],
  ])("may not share a prefix with %s", (_, upstreams, name, other, transparent?: string) => {
    const config = withEdge({ upstreams }, (topology) => {
      if (transparent !== undefined) topology.organizations.globex.nodes.compute.prefix = transparent;
    });
    expect(makePlan(valid(config), facts).problems).toMatchObject([
      {
        path: `topology.organizations.acme.nodes.edge.upstreams.${name}.prefix`,
        problem: `is also the prefix of ${other}`,
      },
    ]);
  });
});

describe("a node's prefix", () => {
  it("may be empty for one node, which may have a transparent upstream too", () => {
    const plan = planOf(withEdge({ prefix: "", upstreams: { docs: { url, prefix: "" } } }));
    expect(plan.manifest.nodes["acme/edge"]?.prefix).toBe("");
  });

  it("may not be empty for two", () => {
    const config = withEdge({ prefix: "" }, (topology) => (topology.organizations.globex.nodes.compute.prefix = ""));
    expect(makePlan(valid(config), facts).problems).toMatchObject([{ problem: "get the same name" }]);
  });
});

describe("secrets of upstreams", () => {
  const plan = planOf(
    withEdge({ upstreams: { docs: { url, auth: "bearer" }, wiki: { url, auth: credentials }, open: { url } } }),
  );

  it("are all there", () => {
    expect(secretProblems(plan, { "acme/edge": { docs: "s", wiki: "t" } })).toEqual([]);
  });

  it("are missed and found useless by name, and never shown", () => {
    const problems = secretProblems(plan, {
      "acme/edge": { docs: "", open: "p4ss" },
      "acme/nowhere": { docs: "p4ss" },
    });
    expect(problems.map(({ path, problem }) => `${path} ${problem}`)).toEqual([
      "upstreamSecrets.acme/edge.docs is missing",
      "upstreamSecrets.acme/edge.wiki is missing",
      "upstreamSecrets.acme/edge.open belongs to no upstream that wants a secret",
      "upstreamSecrets.acme/nowhere.docs belongs to no upstream that wants a secret",
    ]);
    expect(JSON.stringify(problems)).not.toContain("p4ss");
  });
});
