import { expect, test } from "vitest";
import { cloudflare } from "../../../providers/cloudflare/adapter.ts";

const facts = { accountId: "0123456789abcdef0123456789abcdef", workersSubdomain: "acme" };

test("a node is below workers.dev, or where the template says", () => {
  expect(cloudflare.urlFor("net-edge", cloudflare.settings.parse(facts))).toBe("https://net-edge.acme.workers.dev");
  const custom = cloudflare.settings.parse({ ...facts, url: "https://{name}.mcp.example.com/" });
  expect(cloudflare.urlFor("net-edge", custom)).toBe("https://net-edge.mcp.example.com");
});

test("the control plane is the vendor's unless the settings say otherwise", () => {
  expect(cloudflare.settings.parse(facts).api).toBe("https://api.cloudflare.com/client/v4");
});

test.each([
  ["accountId", { ...facts, accountId: "acme" }],
  ["workersSubdomain", { ...facts, workersSubdomain: "acme.workers.dev" }],
  ["url", { ...facts, url: "https://mcp.example.com" }],
  ["api", { ...facts, api: "api.cloudflare.com" }],
])("refuses a wrong %s and names it", (name, settings) => {
  expect(cloudflare.settings.safeParse(settings).error?.issues.map(({ path }) => path)).toEqual([[name]]);
});

test("refuses settings it does not know", () => {
  expect(cloudflare.settings.safeParse({ ...facts, apiToken: "x" }).success).toBe(false);
});

test.each(["a", "net-acme-edge", "a".repeat(63)])("takes %s as a name", (name) =>
  expect(name).toMatch(cloudflare.names.pattern),
);
test.each(["", "-a", "a-", "A", "a_b", "a.b"])("does not take %j as a name", (name) =>
  expect(name).not.toMatch(cloudflare.names.pattern),
);
