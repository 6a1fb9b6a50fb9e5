import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Grant, Manifest } from "../../../../functions/node/federation/manifest.ts";
import { matches } from "../../../../functions/node/security/pattern.ts";
import { decide, mayAsk, type Party } from "../../../../functions/node/security/policy.ts";

const organizations = ["acme", "globex", "initech"];
const nodeIds = organizations.flatMap((organization) => [`${organization}/a`, `${organization}/b`]);
const now = Date.parse("2026-11-22T12:00:00Z");

const name = fc.constantFrom("read", "write", "meeting://1", "meeting://2", "constructor");
const patterns = fc.uniqueArray(fc.constantFrom("*", "read", "w*", "meeting://*", "*e"), { maxLength: 2 });
const grant: fc.Arbitrary<Grant> = fc.record(
  {
    id: fc.uuid(),
    from: fc.constantFrom(...organizations),
    to: fc.constantFrom(...organizations),
    nodes: fc.uniqueArray(fc.constantFrom("*", "a", "b"), { maxLength: 2 }),
    tools: patterns,
    resources: patterns,
    prompts: patterns,
    expires: fc.constantFrom("2026-11-22T11:59:59Z", "2026-11-22T12:00:01Z", "soon"),
    rate: fc.integer({ min: 1, max: 9 }),
  },
  { requiredKeys: ["id", "from", "to", "nodes", "tools", "resources", "prompts"] },
);
const party: fc.Arbitrary<Party> = fc.record({
  organization: fc.constantFrom(...organizations),
  actors: fc.uniqueArray(fc.constantFrom(...nodeIds), { maxLength: 3 }),
});
const question = fc.record({
  grants: fc.array(grant, { maxLength: 8 }),
  node: fc.constantFrom(...nodeIds),
  party,
  kind: fc.constantFrom("tools", "resources", "prompts"),
  name,
});

function manifest(grants: readonly Grant[]): Manifest {
  const nodes = Object.fromEntries(
    nodeIds.map((id) => [
      id,
      {
        organization: id.split("/")[0] as string,
        provider: "memory",
        url: `http://${id}`,
        prefix: id.replace("/", "-"),
        functions: [],
      },
    ]),
  );
  return { network: "test", serial: 1, nodes, keys: {}, organizations: {}, grants };
}

const organizationOf = (node: string) => node.split("/")[0] as string;
const involved = (p: Party) => new Set([p.organization, ...p.actors.map(organizationOf)]);

describe("policy", () => {
  test("inside one organization everything is allowed, whatever the grants", () => {
    fc.assert(
      fc.property(question, ({ grants, node, kind, name }) => {
        const own = {
          organization: organizationOf(node),
          actors: nodeIds.filter((id) => organizationOf(id) === organizationOf(node)),
        };
        expect(decide({ manifest: manifest(grants), node, party: own, kind, name, now })).toEqual({
          allow: true,
          grants: [],
        });
      }),
    );
  });

  test("without grants every foreign organization is denied", () => {
    fc.assert(
      fc.property(question, ({ node, party, kind, name }) => {
        const foreign = [...involved(party)].some((organization) => organization !== organizationOf(node));
        expect(decide({ manifest: manifest([]), node, party, kind, name, now }).allow).toBe(!foreign);
      }),
    );
  });

  test("a permission names one live, fitting grant for each foreign organization, and no other", () => {
    fc.assert(
      fc.property(question, ({ grants, node, party, kind, name }) => {
        const decision = decide({ manifest: manifest(grants), node, party, kind, name, now });
        const own = organizationOf(node);
        const foreign = [...involved(party)].filter((organization) => organization !== own).toSorted();
        const fits = (g: Grant) =>
          g.from === own &&
          (g.expires === undefined || g.expires === "2026-11-22T12:00:01Z") &&
          g.nodes.some((pattern) => matches(pattern, node.slice(own.length + 1))) &&
          g[kind].some((pattern) => matches(pattern, name));
        expect(decision.allow).toBe(foreign.every((to) => grants.some((g) => g.to === to && fits(g))));
        if (!decision.allow) return;
        expect(decision.grants.map(({ to }) => to)).toEqual(foreign);
        for (const chosen of decision.grants) {
          expect(fits(chosen)).toBe(true);
          const rates = grants.filter((g) => g.to === chosen.to && fits(g)).map((g) => g.rate ?? Infinity);
          expect(chosen.rate ?? Infinity, "the most generous one counts").toBe(Math.max(...rates));
        }
      }),
    );
  });

  test("one more organization on the path never turns a denial into a permission", () => {
    fc.assert(
      fc.property(question, fc.constantFrom(...nodeIds), ({ grants, node, party, kind, name }, actor) => {
        const longer = { ...party, actors: [...party.actors, actor] };
        const before = decide({ manifest: manifest(grants), node, party, kind, name, now }).allow;
        if (decide({ manifest: manifest(grants), node, party: longer, kind, name, now }).allow)
          expect(before).toBe(true);
      }),
    );
  });

  test("whatever is allowed is also asked for", () => {
    fc.assert(
      fc.property(question, ({ grants, node, party, kind, name }) => {
        if (decide({ manifest: manifest(grants), node, party, kind, name, now }).allow)
          expect(mayAsk(manifest(grants), node, party, kind, now)).toBe(true);
      }),
    );
  });

  test("a node that the manifest does not hold is denied, as callee and on the path", () => {
    const everything = organizations.flatMap((from) =>
      organizations.map((to): Grant => ({
        id: `${from}-${to}`,
        from,
        to,
        nodes: ["*"],
        tools: ["*"],
        resources: ["*"],
        prompts: ["*"],
      })),
    );
    for (const stranger of ["acme/ghost", "__proto__", "toString"]) {
      const ask = (node: string, actors: readonly string[]) =>
        decide({
          manifest: manifest(everything),
          node,
          party: { organization: "acme", actors },
          kind: "tools",
          name: "x",
          now,
        });
      expect(ask(stranger, [])).toEqual({ allow: false, reason: `${stranger} is not in the manifest` });
      expect(ask("acme/a", [stranger])).toEqual({ allow: false, reason: `${stranger} is not in the manifest` });
    }
  });
});

describe("patterns", () => {
  test("mean the same as the regular expression", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "*", "."), maxLength: 8 });
    fc.assert(
      fc.property(letters, fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 10 }), (pattern, text) => {
        const expected = new RegExp(
          `^${pattern
            .split("*")
            .map((part) => part.replaceAll(".", "\\."))
            .join(".*")}$`,
        ).test(text);
        expect(matches(pattern, text)).toBe(expected);
      }),
      { numRuns: 2_000 },
    );
  });

  test("take linear time", () => {
    const started = performance.now();
    expect(matches(`${"*a".repeat(200)}b*c`, "a".repeat(20_000))).toBe(false);
    expect(performance.now() - started).toBeLessThan(200);
  });
});
