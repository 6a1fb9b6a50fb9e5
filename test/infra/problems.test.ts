import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { formatProblem } from "../../infra/errors.ts";
import { referenceProblems } from "../../infra/references.ts";
import { parseTopology, stackFileSchema } from "../../infra/topology.ts";
import { providerNames } from "../../providers/index.ts";
import { stackConfig } from "./topology.ts";

function problems(value: unknown) {
  return [
    ...parseTopology(value).problems,
    ...referenceProblems(value, { functions: ["echo", "meeting-info"], providers: providerNames }),
  ];
}

describe("problems of a config", () => {
  it("finds none in the local stack", () => {
    expect(problems(stackConfig("local"))).toEqual([]);
  });

  it("lists malformed values and dangling references together, each with its path and value", () => {
    const config = stackConfig("local");
    config.organizations.acme.nodes.edge.provider = "cloudflair";
    config.organizations.acme.nodes.data.functions = ["eco"];
    config.organizations.acme.grants[0].to = "globx";
    config.organizations.globex.grants[0].rate = 0;
    config.organizations.globex.acepts = ["acme"];
    expect(problems(config).map(({ path, value, allowed }) => ({ path, value, allowed }))).toEqual([
      {
        path: "topology.organizations.acme.nodes.edge.provider",
        value: "cloudflair",
        allowed: "cloudflare, supabase, fly",
      },
      { path: "topology.organizations.globex.grants.0.rate", value: 0, allowed: "at least 1" },
      {
        path: "topology.organizations.globex.acepts",
        value: ["acme"],
        allowed: "users, providers, nodes, grants, accepts",
      },
      { path: "topology.organizations.acme.nodes.data.functions.0", value: "eco", allowed: "echo, meeting-info" },
      { path: "topology.organizations.acme.grants.0.to", value: "globx", allowed: "globex" },
    ]);
  });

  it.each([
    ["no config at all", undefined, "topology", "is missing"],
    ["a list", [], "topology", "has the wrong type"],
    ["no organizations", { network: "n", organizations: {} }, "topology.organizations", "is not valid"],
  ])("reports %s", (_, value, path, problem) => {
    expect(problems(value)).toContainEqual(expect.objectContaining({ path, problem }));
  });

  it("refuses names that no provider would take, with the rule in words", () => {
    const config = stackConfig("local");
    config.organizations.Acme = config.organizations.acme;
    const [problem] = problems(config);
    expect(problem).toMatchObject({
      path: "topology.organizations.Acme",
      value: "Acme",
      problem: "is not a valid name",
    });
  });

  it("reports a missing account of a provider in use once", () => {
    const config = stackConfig("local");
    delete config.organizations.acme.providers.supabase;
    expect(problems(config).map(({ path }) => path)).toEqual(["topology.organizations.acme.providers.supabase"]);
  });

  it.each([
    ["2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"],
    ["2030-01-01 00:00:00 +0000 UTC", "2030-01-01T00:00:00Z"],
    ["2030-01-01 09:30:00 +0200 CEST", "2030-01-01T09:30:00+02:00"],
  ])("takes the time %s, however YAML and Pulumi hand it on", (written, read) => {
    const config = stackConfig("local");
    config.organizations.acme.grants[0].expires = written;
    expect(parseTopology(config).topology?.organizations["acme"]?.grants[0]?.expires).toBe(read);
  });

  it("shortens a long value and says how long it is", () => {
    const text = formatProblem({ path: "a", value: "x".repeat(500), problem: "p", allowed: "q", remedy: "r" });
    expect(text).toContain("… (502 characters)");
    expect(text.length).toBeLessThan(200);
  });
});

describe("stacks/schema.json", () => {
  it("is what the schema in the code says (npm run schema writes it)", () => {
    const file = readFileSync(new URL("../../stacks/schema.json", import.meta.url), "utf8");
    expect(JSON.parse(file)).toEqual(JSON.parse(JSON.stringify(stackFileSchema())));
  });
});
