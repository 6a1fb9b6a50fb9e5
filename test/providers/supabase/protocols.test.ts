import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { claimSql, schemaSql } from "../../../providers/supabase/schema.ts";
import { echoBundle, expectations, leavingCancels, twoNodes, type TwoNodes } from "../protocols.ts";
import { SupabaseCloud } from "./cloud.ts";

// The peer is in this process, and so are its audit lines.
vi.spyOn(console, "log").mockImplementation(() => undefined);

const cloud = new SupabaseCloud();
let nodes: TwoNodes;

beforeAll(async () => {
  await cloud.start();
  nodes = await twoNodes(cloud.functionUrl("sockets"));
  await cloud.query(schemaSql + claimSql("test"));
  const secrets = [
    { name: "FEDERATION_CONFIG_SOCKETS", value: JSON.stringify(nodes.config) },
    { name: "FEDERATION_KEY_SOCKETS", value: JSON.stringify(nodes.key) },
  ];
  expect((await cloud.manage("POST", "/secrets", secrets)).status).toBe(201);
  const deployed = await cloud.deploy("sockets", await echoBundle("supabase"));
  expect(deployed.status, await deployed.clone().text()).toBe(201);
  await nodes.wire();
});
afterAll(async () => {
  await nodes.close();
  await cloud.remove();
});

describe("the protocols of a node on real Deno", () => {
  test.each(Object.entries(expectations))("%s", async (_, check) => await check(nodes));

  test("REST cancels the call of a client that leaves", async () => await leavingCancels(nodes));
});
