import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Plan, bundleProblems, makePlan } from "../../infra/plan.ts";
import { fits } from "../../infra/naming.ts";
import type { Topology } from "../../infra/topology.ts";
import { adapters } from "../../providers/index.ts";
import { facts, stackConfig, valid } from "./topology.ts";

function planOf(topology: Topology): Plan {
  const { plan, problems } = makePlan(topology, facts);
  expect(problems).toEqual([]);
  return plan!;
}

const name = fc.stringMatching(/^[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,4})?$/);
const accounts = {
  cloudflare: { accountId: "0123456789abcdef0123456789abcdef", workersSubdomain: "team" },
  supabase: { projectRef: "abcdefghijklmnopqrst" },
  fly: { organization: "team", region: "fra" },
};
const node = fc.record({
  provider: fc.constantFrom("cloudflare", "supabase", "fly"),
  functions: fc.uniqueArray(fc.constantFrom("echo", "meeting-info"), { minLength: 1 }),
});
const topologies = fc
  .dictionary(name, fc.dictionary(name, node, { maxKeys: 4 }), { minKeys: 1, maxKeys: 4 })
  .chain((nodes) => {
    const organizations = Object.keys(nodes);
    const others = (self: string) => organizations.filter((other) => other !== self);
    return fc.record({
      network: name,
      organizations: fc.record(
        Object.fromEntries(
          organizations.map((self) => [
            self,
            fc.record({
              providers: fc.constant(accounts),
              nodes: fc.constant(nodes[self]),
              accepts: fc.subarray(others(self)),
              grants: fc.subarray(others(self)).map((to) => to.map((other) => ({ to: other, tools: ["*"] }))),
            }),
          ]),
        ),
      ),
    });
  });

describe("makePlan", () => {
  it("plans the local stack", () => {
    const plan = planOf(valid(stackConfig("local")));
    expect(plan.nodes.map(({ id, url, prefix }) => ({ id, url, prefix }))).toEqual([
      {
        id: "acme/data",
        url: "http://127.0.0.1:7700/supabase/projects/acmeacmeacmeacmeacme/functions/v1/local-acme-data",
        prefix: "acme-data",
      },
      { id: "acme/edge", url: "http://127.0.0.1:7700/cloudflare/local-acme-edge", prefix: "acme-edge" },
      { id: "globex/compute", url: "http://127.0.0.1:7700/fly/local-globex-compute", prefix: "globex-compute" },
    ]);
    expect(plan.bundles.map(({ id }) => id)).toEqual([
      "supabase:echo+meeting-info",
      "cloudflare:echo+meeting-info",
      "fly:echo+meeting-info",
    ]);
    expect(plan.manifest.grants.map(({ id }) => id)).toEqual(["acme:globex:1", "globex:acme:1"]);
    expect(plan.notices).toEqual([]);
  });

  it("computes the vendors' own URLs where no other is configured", () => {
    const topology = valid({
      network: "prod",
      organizations: {
        acme: {
          providers: accounts,
          nodes: {
            a: { provider: "cloudflare", functions: ["echo"] },
            b: { provider: "supabase", functions: ["echo"] },
            c: { provider: "fly", functions: ["echo"] },
          },
        },
      },
    });
    expect(planOf(topology).nodes.map(({ url }) => url)).toEqual([
      "https://prod-acme-a.team.workers.dev",
      "https://abcdefghijklmnopqrst.supabase.co/functions/v1/prod-acme-b",
      "https://prod-acme-c.fly.dev",
    ]);
  });

  it("gives every node its own name, prefix and URL, each legal at its provider, or says which collide", () => {
    fc.assert(
      fc.property(topologies, (value) => {
        const { plan, problems } = makePlan(valid(value), facts);
        const ids = Object.entries(value.organizations).flatMap(([organization, { nodes }]) =>
          Object.keys(nodes ?? {}).map((key) => `${organization}-${key}`),
        );
        if (!plan) {
          expect(new Set(ids).size).toBeLessThan(ids.length);
          expect(problems.every(({ problem }) => problem === "get the same name")).toBe(true);
          return;
        }
        expect(plan.nodes).toHaveLength(ids.length);
        for (const key of ["prefix", "url"] as const) {
          expect(new Set(plan.nodes.map((planned) => planned[key])).size).toBe(ids.length);
        }
        for (const planned of plan.nodes)
          expect(fits(planned.physicalName, adapters[planned.provider].names)).toBe(true);
      }),
    );
  });

  it("does not depend on the order in which things are written", () => {
    fc.assert(
      fc.property(topologies, (value) => {
        const reversed = (object: object) => Object.fromEntries(Object.entries(object).toReversed());
        const shuffled = {
          network: value.network,
          organizations: reversed(
            Object.fromEntries(
              Object.entries(value.organizations).map(([key, organization]) => [
                key,
                { ...organization, nodes: reversed(organization.nodes ?? {}) },
              ]),
            ),
          ),
        };
        expect(JSON.stringify(makePlan(valid(shuffled), facts))).toBe(JSON.stringify(makePlan(valid(value), facts)));
      }),
    );
  });

  it("makes a grant effective exactly where both organizations declared it", () => {
    fc.assert(
      fc.property(topologies, (value) => {
        const { plan } = makePlan(valid(value), facts);
        if (!plan) return;
        const declared = Object.entries(value.organizations).flatMap(([from, { grants }]) =>
          grants.filter(({ to }) => value.organizations[to]?.accepts.includes(from)).map(({ to }) => `${from}>${to}`),
        );
        expect(plan.manifest.grants.map(({ from, to }) => `${from}>${to}`).sort()).toEqual(declared.sort());
        const oneSided = Object.entries(value.organizations).flatMap(([self, { grants, accepts }]) => [
          ...grants.filter(({ to }) => !value.organizations[to]?.accepts.includes(self)),
          ...accepts.filter((from) => !value.organizations[from]?.grants.some(({ to }) => to === self)),
        ]);
        expect(plan.notices).toHaveLength(oneSided.length);
      }),
    );
  });

  it("changes nothing about the nodes that are there when an organization is added", () => {
    fc.assert(
      fc.property(topologies, (value) => {
        const before = makePlan(valid(value), facts).plan;
        const grown = {
          ...value,
          organizations: {
            ...value.organizations,
            newcomer: { providers: accounts, nodes: { only: { provider: "fly", functions: ["echo"] } } },
          },
        };
        const after = makePlan(valid(grown), facts).plan;
        if (!before || !after || value.organizations["newcomer"]) return;
        expect(after.nodes.filter(({ organization }) => organization !== "newcomer")).toEqual(before.nodes);
      }),
    );
  });
});

describe("bundleProblems", () => {
  it("names each node whose functions compile to more than its provider takes", () => {
    const plan = planOf(valid(stackConfig("local")));
    const bundles = (bytes: number) => new Map(plan.bundles.map(({ id }) => [id, { bytes }]));
    expect(bundleProblems(plan, bundles(500_000), adapters)).toEqual([]);
    expect(bundleProblems(plan, bundles(1e9), adapters).map(({ path }) => path)).toEqual([
      "topology.organizations.acme.nodes.data.functions",
      "topology.organizations.acme.nodes.edge.functions",
      "topology.organizations.globex.nodes.compute.functions",
    ]);
  });
});
